"""`leafgate up`: a gateway that runs until it is told to stop, or as long as a command that uses it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from pydantic_core import PydanticCustomError

from certs import DEFECTS, Chain
from gateway import Gateway, MovableClock, Settings
from gateway.config import TlsVersion
from gateway.faults.catalogue import read
from gateway.runtime import announced
from gateway.upstream.link import LinkState
from gateway.upstream.sinks import Sink
from gateway.upstream.sinks import read as read_sink
from gateway.upstream.sinks.file import JsonLinesFile
from scenarios import chainsource, guide, nesting, ready
from scenarios.cast import Actor, casting, register
from scenarios.catalogue import find, load_all
from scenarios.errors import CannotPlayError, ScenariosError
from scenarios.fields import seconds, suggestion
from scenarios.model import Loaded
from scenarios.refusals import Refusals, show_log
from scenarios.settings import parse_settings
from scenarios.stage import keep
from scenarios.upoptions import Options

TLS_VERSIONS = ("1.0", "1.1", "1.2", "1.3")
DEFAULT_LEAF = "leaf-1"
SECRETS = ("LEAFGATE_DEVICE_CA_KEY", "LEAFGATE_PKCS11_PIN", "LEAFGATE_PARENT")  # no business of the command that is run


@dataclass
class Service:
    """What is running, for those who print it or write it down."""

    gateway: Gateway
    leaves: dict[str, str] = field(default_factory=dict)
    actors: tuple[Actor, ...] = ()
    children: dict[str, Any] = field(default_factory=dict)


def run_up(options: Options) -> int:
    """Run until stopped; returns the exit code."""
    _check(options)
    if options.ready_file is not None:
        _forget(options.ready_file)
    return asyncio.run(_run(options, _scenario(options)))


def _check(options: Options) -> None:
    for name in options.defects:
        if name not in DEFECTS:
            raise ScenariosError(f"defect {name!r} does not exist", suggestion(name, sorted(DEFECTS)))
    for version in options.tls:
        if version not in TLS_VERSIONS:
            raise ScenariosError(f"TLS version {version!r} does not exist", f"one of {', '.join(TLS_VERSIONS)}")
    chainsource.check(options)
    nesting.check(options)
    parse_settings(options.settings)
    for fault in options.faults:
        read(fault)
    _line(options.upstream)
    for sink in options.sinks:
        read_sink(sink)


def _line(text: str | None) -> tuple[LinkState, float | None]:
    """Read `STATE[:LATENCY]`, as in slow:500ms. Raises ScenariosError with what to write instead."""
    word, colon, latency = (text or LinkState.UP).partition(":")
    states = [state.value for state in LinkState]
    if word not in states:
        raise ScenariosError(f"the line to IoT Hub has no state {word!r}", suggestion(word, states))
    if not colon:
        return LinkState(word), None
    try:
        return LinkState(word), seconds(latency)
    except PydanticCustomError as wrong:
        raise ScenariosError(f"--upstream {text}: {wrong.message()}", "as in slow:2s") from None


def _scenario(options: Options) -> Loaded | None:
    if options.scenario is None:
        return None
    found = load_all(find([options.scenario]))
    if len(found) != 1:
        names = ", ".join(loaded.name for loaded in found)
        raise ScenariosError(f"{options.scenario!r} is several scenarios: {names}", "choose one of them")
    return found[0]


async def _run(options: Options, loaded: Loaded | None) -> int:
    async with AsyncExitStack() as exits:
        stop = _stop_on_signals()
        level = options.log_level or ("warning" if options.command else "info")
        exits.callback(show_log(level, as_json=options.log_json))
        above = nesting.above(options)
        source = chainsource.find(options, loaded)
        sinks = [*map(read_sink, options.sinks), *_messages_file(options)]
        gateway = Gateway(
            chain=source.chain,
            bind=options.bind,
            mqtt_port=options.mqtt_port,
            https_port=options.https_port,
            hub_port=None if above else options.hub_port,
            metrics_port=options.metrics_port,
            admin_port=options.admin_port,
            parent_hostname=above.hostname if above else None,
            parent_connection=above.connection if above else None,
            parent_trust=above.trust if above else None,
            parent_address=above.address if above else None,
            state=options.state,
            clock=MovableClock(),
            sinks=sinks,
            settings=_settings(options, loaded),
            tls=_tls(options, loaded, source.tls),
        )
        for fault in options.faults:
            gateway.faults.add(read(fault))
        if loaded is not None and loaded.scenario.gateway.time_to_live is not None:
            keep(gateway, loaded.scenario.gateway.time_to_live)
        if options.upstream is not None:
            state, latency = _line(options.upstream)
            gateway.upstream.link.switch(state, latency=latency)
        gateway.events.subscribe(Refusals(gateway, as_json=options.log_json).see)
        await exits.enter_async_context(gateway)
        folder = Path(exits.enter_context(TemporaryDirectory(prefix="leafgate-up-")))
        if above is None:
            service = _service(options, loaded, gateway, folder, source.configured)
        else:
            below = {name: f"{text};GatewayHostName={gateway.hostname}" for name, text in above.leaves.items()}
            service = Service(gateway, below, children=dict(above.children))
        ready_file = options.ready_file or folder / "ready.json"
        _write_ready(ready_file, service)
        exits.enter_context(announced(ready.announcement(gateway, ready_file)))
        if options.command:
            return await _run_command(options.command, _environment(service, ready_file), stop)
        await asyncio.to_thread(_print_guide, service, loaded)
        await stop.wait()
        return 0


def _messages_file(options: Options) -> list[Sink]:
    return [] if options.messages is None else [JsonLinesFile(options.messages)]


def _settings(options: Options, loaded: Loaded | None) -> Settings:
    settings = parse_settings(options.settings)
    if loaded is not None:
        wanted = loaded.scenario.gateway.hub_settings
        given = {name: getattr(settings, name) for name in settings.model_fields_set}
        settings = wanted.model_copy(update=given)
    return settings.model_copy(update={"fault_injection": True}) if options.fault_injection else settings


def _tls(options: Options, loaded: Loaded | None, seen: Sequence[str]) -> Sequence[TlsVersion] | None:
    wanted = options.tls or (loaded.scenario.gateway.tls if loaded else ()) or seen
    return cast("Sequence[TlsVersion]", wanted) or None


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _service(options: Options, loaded: Loaded | None, gateway: Gateway, folder: Path, configured: Chain) -> Service:
    service = Service(gateway)
    if loaded is not None:
        actors = casting(loaded.scenario, gateway, options.seed, folder, loaded.path.parent, chain=configured)
        service.actors = tuple(actors.values())
        service.leaves |= {actor.name: str(actor.connection) for actor in service.actors}
    service.children = nesting.register(gateway, options.children, options.seed)
    for name in options.leaves or ([] if service.leaves or service.children else [DEFAULT_LEAF]):
        register(gateway, name, None, options.seed)
        service.leaves[name] = gateway.connection_string(name)
    return service


def _forget(path: Path) -> None:
    """A file of an earlier run would say that this one is ready."""
    try:
        path.unlink(missing_ok=True)
    except OSError as wrong:
        raise _unwritable(path, wrong) from None


def _write_ready(path: Path, service: Service) -> None:
    try:
        ready.write(path, ready.facts(service.gateway, service.leaves, service.children))
    except OSError as wrong:
        raise _unwritable(path, wrong) from None


def _unwritable(path: Path, wrong: OSError) -> CannotPlayError:
    return CannotPlayError(f"cannot write {path}: {(wrong.strerror or '').lower()}", "choose another --ready-file")


def _environment(service: Service, ready_file: Path) -> dict[str, str]:
    """What the command gets: the first leaf's identity, and the store only when the scenario has the root there."""
    first = next(iter(service.leaves.values()), None)
    variables = {
        **({} if first is None else {"IOTHUB_DEVICE_CONNECTION_STRING": first}),
        "IOTEDGE_ROOT_CA_CERT_PATH": str(service.gateway.root_ca),
        "LEAFGATE_READY": str(ready_file.absolute()),
    }
    if service.actors:
        actor = service.actors[0]
        variables["IOTEDGE_ROOT_CA_CERT_PATH"] = str(actor.pem or os.devnull)
        if actor.setting.trust == "system":
            variables |= dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(actor.pem))
    return {name: value for name, value in os.environ.items() if name not in SECRETS} | variables


async def _run_command(command: Sequence[str], environment: Mapping[str, str], stop: asyncio.Event) -> int:
    """Run the command; a signal to us ends it, its exit code is ours."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as wrong:
        raise CannotPlayError(f"cannot run {command[0]!r}: {(wrong.strerror or '').lower()}") from None
    ended = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        process.terminate()
    code = await ended
    return code if code >= 0 else 128 - code


def _print_guide(service: Service, loaded: Loaded | None) -> None:
    sys.stdout.write(guide.text(service.gateway, service.leaves, service.actors, loaded, service.children))
    sys.stdout.flush()
