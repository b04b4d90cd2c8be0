"""`leafgate up | demo | run | validate | list | faults | schema`.

Rule: only typer and the standard library are imported up here; the rest by the command that needs it.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Generation(StrEnum):
    """Product generations whose certificate profiles are known."""

    DOCUMENTED = "documented"
    V1_0_3 = "1.0.3"
    V1_0_4 = "1.0.4"
    V1_1 = "1.1"
    V1_2 = "1.2"
    V1_3 = "1.3"
    V1_5 = "1.5"
    QUICKSTART = "quickstart"
    CERTGEN = "certgen"


class KeyKind(StrEnum):
    """Kinds of keys for a chain."""

    EC = "ec"
    EC384 = "ec384"
    RSA2048 = "rsa2048"
    RSA4096 = "rsa4096"


class LogLevel(StrEnum):
    """How much of the gateway's log is shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    OFF = "off"


def _option(name: str, text: str, *, metavar: str | None = None, **more: Any) -> Any:
    variable = "LEAFGATE_" + name.lstrip("-").partition("/")[0].replace("-", "_").upper()
    return typer.Option(name, help=text, envvar=variable, metavar=metavar, **more)


def up(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="A device program to run against the gateway.")
    ] = None,
    *,
    leaf: Annotated[list[str] | None, _option("--leaf", "Register a leaf; repeatable.", metavar="ID")] = None,
    scenario: Annotated[
        str | None,
        _option("--scenario", "Serve this scenario's chain, leaves and faults.", metavar="FILE|NAME"),
    ] = None,
    hostname: Annotated[
        str, _option("--hostname", "The gateway's name, in its certificate and GatewayHostName.", metavar="NAME")
    ] = "localhost",
    generation: Annotated[
        Generation, _option("--generation", "Product generation whose certificates are made.")
    ] = Generation.DOCUMENTED,
    device_ca_cn: Annotated[
        str | None,
        _option("--device-ca-cn", "Common name of the device CA [default: hostname plus .ca].", metavar="CN"),
    ] = None,
    intermediates: Annotated[
        int, _option("--intermediates", "Intermediate CAs between root and device CA.", min=0, max=20)
    ] = 1,
    device_ca_cert: Annotated[
        Path | None,
        _option("--device-ca-cert", "Your device CA: its certificate and those above it.", metavar="FULL-CHAIN"),
    ] = None,
    device_ca_key: Annotated[
        str | None,
        _option("--device-ca-key", "Its key: a PEM file, or pkcs11:token=...;object=...", metavar="FILE|URI"),
    ] = None,
    pkcs11_module: Annotated[
        str | None,
        _option("--pkcs11-module", "Library of the token; its PIN is in LEAFGATE_PKCS11_PIN.", metavar="FILE"),
    ] = None,
    trust_bundle: Annotated[
        Path | None,
        _option("--trust-bundle", "What leaves trust, if not the root of the chain given.", metavar="FILE"),
    ] = None,
    iotedge_config: Annotated[
        Path | None,
        _option(
            "--iotedge-config",
            "Name and certificates of a real gateway: its config.toml or config.yaml.",
            metavar="FILE",
        ),
    ] = None,
    config_root: Annotated[
        Path | None,
        _option("--config-root", "Where the files that the configuration names are found here.", metavar="FOLDER"),
    ] = None,
    imitate: Annotated[
        Path | None,
        _option(
            "--imitate",
            "The same chain with new keys, from public certificates: what was served (PEM, or the bundle of"
            " `leafgate diagnose --save`), or a configuration.",
            metavar="FILE",
        ),
    ] = None,
    at: Annotated[
        datetime | None,
        _option("--at", "With --imitate: move all dates, so that now is as this time (UTC) was to the originals."),
    ] = None,
    key: Annotated[
        KeyKind | None, _option("--key", "Keys of the chain [default: ec, or what the generation used].")
    ] = None,
    ip_san: Annotated[
        list[str] | None,
        _option("--ip-san", "Address in the server certificate; repeatable.", metavar="IP"),
    ] = None,
    defect: Annotated[
        list[str] | None, _option("--defect", "Named mistake in the chain; repeatable.", metavar="NAME")
    ] = None,
    fault: Annotated[
        list[str] | None,
        _option("--fault", "Fault of `leafgate faults`; repeatable.", metavar="NAME[:KEY=VALUE,...]"),
    ] = None,
    fault_injection: Annotated[
        bool, _option("--fault-injection", "Obey the fault messages that device SDKs' own tests send.")
    ] = False,
    upstream: Annotated[
        str | None,
        _option(
            "--upstream", "State of the line to IoT Hub, as of `leafgate upstream link`.", metavar="STATE[:LATENCY]"
        ),
    ] = None,
    allow_cn_loop: Annotated[bool, _option("--allow-cn-loop", "Let the device CA bear the gateway's name.")] = False,
    connect_name: Annotated[
        list[str] | None,
        _option("--connect-name", "Another name that leaves use for the gateway; repeatable.", metavar="NAME"),
    ] = None,
    tls: Annotated[
        list[str] | None,
        _option("--tls", "TLS version 1.0 to 1.3; repeatable [default: the generation's].", metavar="VERSION"),
    ] = None,
    seed: Annotated[
        int | None, _option("--seed", "Make serials, EC keys and SAS keys repeat.", min=0, metavar="N")
    ] = None,
    mqtt_port: Annotated[int, _option("--mqtt-port", "MQTT over TLS; 0 takes any free port.", min=0, max=65535)] = 8883,
    https_port: Annotated[
        int, _option("--https-port", "MQTT over WebSocket, and HTTPS; 0 takes any free port.", min=0, max=65535)
    ] = 443,
    hub_port: Annotated[
        int, _option("--hub-port", "The cloud's service API, HTTPS; 0 takes any free port.", min=0, max=65535)
    ] = 8443,
    metrics_port: Annotated[
        int, _option("--metrics-port", "Edge Hub's metrics, HTTP; 0 takes any free port.", min=0, max=65535)
    ] = 9600,
    admin_port: Annotated[
        int, _option("--admin-port", "What arrived, the clock, the link: HTTP; 0 takes any.", min=0, max=65535)
    ] = 0,
    bind: Annotated[str, _option("--bind", "Address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    child: Annotated[
        list[str] | None,
        _option("--child", "Register a gateway below this one, and a leaf of it; repeatable.", metavar="EDGE/[LEAF]"),
    ] = None,
    parent: Annotated[
        str | None,
        _option(
            "--parent",
            "Be below another gateway: its ready file, or the connection string of this one's edge device.",
            metavar="READY|STRING",
        ),
    ] = None,
    parent_hostname: Annotated[
        str | None,
        _option("--parent-hostname", "The name in the parent's certificate [default: what it says].", metavar="NAME"),
    ] = None,
    parent_trust: Annotated[
        Path | None,
        _option("--parent-trust", "PEM file the parent is judged by [default: its root].", metavar="FILE"),
    ] = None,
    parent_address: Annotated[
        str | None,
        _option("--parent-address", "Where the parent really is.", metavar="ADDRESS:MQTT:HTTPS"),
    ] = None,
    edge_device_id: Annotated[
        str | None,
        _option("--edge-device-id", "Which of the parent's children this gateway is.", metavar="ID"),
    ] = None,
    setting: Annotated[
        list[str] | None,
        _option("--setting", "A setting of the Edge Hub, as in strict=true; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    state: Annotated[
        Path | None, _option("--state", "Keep certificates, leaves and messages here.", metavar="DIR")
    ] = None,
    messages: Annotated[
        Path | None,
        _option("--messages", "Write what arrives upstream here, as JSON lines; the file is rotated.", metavar="FILE"),
    ] = None,
    sink: Annotated[
        list[str] | None,
        _option("--sink", "Where else what arrives goes; repeatable.", metavar="NAME[:KEY=VALUE,...]"),
    ] = None,
    ready_file: Annotated[
        Path | None, _option("--ready-file", "Write the facts as JSON once it is ready.", metavar="FILE")
    ] = None,
    log_level: Annotated[
        LogLevel | None, _option("--log-level", "The gateway's log on stderr [default: info].")
    ] = None,
    log_json: Annotated[bool, _option("--log-json", "The log as JSON lines.")] = False,
) -> None:
    """Start a gateway and print what a device needs to connect to it; Ctrl-C stops it.

    \b
    Examples:
      leafgate up --leaf dev1 --leaf dev2
      leafgate up --hostname iotedgegw.local --device-ca-cn iotgateway.ca
      leafgate up --device-ca-cert ca-full-chain.pem --device-ca-key ca.key.pem
      leafgate up --iotedge-config config.toml --config-root disk-of-the-gateway/
      leafgate up --imitate failure.zip
      leafgate up --scenario tls/missing-intermediate
      leafgate up --upstream slow:2s
      leafgate up --fault delay:seconds=0.5 --fault connack:code=3,connections=2
      leafgate up --hostname parent.factory.test --child edge2/press-7 --ready-file parent.json
      leafgate up --hostname child.factory.test --parent parent.json --mqtt-port 18883 --https-port 18443
      leafgate up --leaf dev1 --mqtt-port 0 -- python my_device.py
    """
    from scenarios.up import run_up
    from scenarios.upoptions import Options

    options = Options(
        command=tuple(command or ()),
        leaves=tuple(leaf or ()),
        scenario=scenario,
        hostname=hostname,
        generation=generation.value,
        device_ca_cn=device_ca_cn,
        intermediates=intermediates,
        device_ca_cert=device_ca_cert,
        device_ca_key=device_ca_key,
        pkcs11_module=pkcs11_module,
        trust_bundle=trust_bundle,
        iotedge_config=iotedge_config,
        config_root=config_root,
        imitate=imitate,
        at=at.replace(tzinfo=UTC) if at else None,
        key=key.value if key else None,
        ip_san=tuple(ip_san or ()),
        defects=tuple(defect or ()),
        faults=tuple(fault or ()),
        fault_injection=fault_injection,
        upstream=upstream,
        allow_cn_loop=allow_cn_loop,
        connect_names=tuple(connect_name or ()),
        tls=tuple(tls or ()),
        seed=seed,
        mqtt_port=mqtt_port,
        https_port=https_port,
        hub_port=hub_port,
        metrics_port=metrics_port,
        admin_port=admin_port,
        bind=bind,
        children=tuple(child or ()),
        parent=parent,
        parent_hostname=parent_hostname,
        parent_trust=parent_trust,
        parent_address=parent_address,
        edge_device_id=edge_device_id,
        settings=tuple(setting or ()),
        messages=messages,
        sinks=tuple(sink or ()),
        state=state,
        ready_file=ready_file,
        log_level=log_level.value if log_level else None,
        log_json=log_json,
    )
    raise typer.Exit(run_up(options))


def demo(
    *,
    step: Annotated[bool, typer.Option("--step", help="Wait for a key between the acts.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", envvar="LEAFGATE_SEED", help="Repeat an earlier demo.")
    ] = None,
) -> None:
    """Show the whole thing: a chain, a gateway, three leaves with telemetry, then the failures and their reasons.

    \b
    Examples:
      leafgate demo
      leafgate demo --step
    """
    from scenarios.demo import run_demo

    raise typer.Exit(run_demo(step=step, seed=seed))


def run(
    what: Annotated[list[str], typer.Argument(metavar="NAME|FILE|FOLDER...", help="Scenarios to play.")],
    *,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="How many to play at once.")] = 4,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="JSON report; - for stdout.")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="JUnit XML report.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", envvar="LEAFGATE_SEED", help="Repeat an earlier run.")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Tell of passing scenarios too.")] = False,
) -> None:
    """Play scenarios against a real gateway with real leaves and say whether they come out as they claim.

    \b
    Examples:
      leafgate run tls/cn-loop-without-key-ids -v
      leafgate run tls mqtt -j 8
      leafgate run my-scenarios/ --junit report.xml --json report.json
    Exit codes: 0 all as expected, 1 an expectation failed, 2 a file or the usage is wrong, 3 could not start.
    """
    from scenarios.running import run_files

    raise typer.Exit(run_files(what, jobs=jobs, json_file=json_file, junit_file=junit_file, seed=seed, verbose=verbose))


def validate(
    what: Annotated[list[str], typer.Argument(metavar="PATH...", help="Scenario files, folders or names.")],
) -> None:
    """Check scenario files without playing them; every mistake is FILE:LINE:COLUMN and what to write instead.

    \b
    Examples:
      leafgate validate my-scenarios/
    """
    from scenarios.catalogue import find, load_all
    from scenarios.errors import ScenarioFileError

    try:
        loaded = load_all(find(what))
    except ScenarioFileError as wrong:
        _stop(wrong)
    typer.echo(f"{len(loaded)} scenario{'' if len(loaded) == 1 else 's'} valid")


def list_scenarios(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the shipped library: every scenario with its claim.

    \b
    Examples:
      leafgate list
      leafgate list --json
    """
    from scenarios.catalogue import load_all, names
    from scenarios.reports.listing import as_text, to_json
    from scenarios.reports.text import Style

    loaded = load_all(names().values())
    typer.echo(to_json(loaded) if as_json else as_text(loaded, Style.of(sys.stdout)), nl=False)


def faults() -> None:
    """Show the faults that a gateway can have (`leafgate up --fault`, the step `fault:`), with their parameters.

    \b
    Examples:
      leafgate faults
    """
    from scenarios.reports.faults import as_text

    typer.echo(as_text(), nl=False)


def schema() -> None:
    """Print the JSON Schema of scenario files, for editors.

    \b
    Examples:
      leafgate schema > scenario.schema.json
    """
    import json

    from scenarios.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def _stop(error: Any) -> NoReturn:
    typer.echo(error.message, err=True)
    raise typer.Exit(error.exit_code)


# The front door passes these on to typer.
for _command in (up, demo, run, validate, list_scenarios, faults, schema):
    setattr(_command, "command_settings", {"context_settings": CONTEXT})  # noqa: B010 - functions have no such attribute
