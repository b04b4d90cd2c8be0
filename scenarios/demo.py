"""`leafgate demo`: the whole product in one go, played for real: nothing here is printed that did not happen.

Acts: the chain, the gateway, three leaves with telemetry, then every failure of the library with its reason.
"""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from collections.abc import Iterator

from certs import Chain, inspect
from gateway import Gateway, PortError
from leafsim import Device
from scenarios.catalogue import load_all, names
from scenarios.chainplan import ChainPlan, derive, new_seed
from scenarios.model import Loaded
from scenarios.reports.text import Style
from scenarios.results import Result
from scenarios.runner import play, play_all
from scenarios.steps.connect import Connect
from scenarios.words import enumeration, printable

# The names of the certificate article in the IoT Edge documentation.
HOSTNAME, DEVICE_CA = "iotedgegw.local", "iotgateway.ca"
LEAVES = {"press-7": 21.4, "oven-2": 182.0, "pump-4": 8.3}
MQTTS = 8883
JOBS = 4
LABEL = 9


def run_demo(*, step: bool, seed: int | None) -> int:
    """Play all acts; returns the exit code."""
    return asyncio.run(_Demo(step, new_seed() if seed is None else seed).play())


class _Demo:
    def __init__(self, step: bool, seed: int) -> None:
        self._seed = seed
        self._step = step and sys.stdin.isatty()
        self._style = Style.of(sys.stdout)
        self._acts = 0

    async def play(self) -> int:
        started = time.monotonic()
        chain = self._show_chain()
        gateway = await self._start(chain)
        try:
            await self._show_telemetry(gateway)
        finally:
            await gateway.stop()
        results = await self._show_failures()
        return self._close(results, time.monotonic() - started)

    def _show_chain(self) -> Chain:
        chain = ChainPlan(hostname=HOSTNAME, device_ca_cn=DEVICE_CA, seed=self._seed).build()
        self._act("The chain", "A gateway shows its leaves a server certificate and everything above it.")
        for line in inspect.lines(chain.sent, name=HOSTNAME, trust=chain.trust):
            branch = "   " * (line.depth - 1) + "└─ " if line.depth else ""
            level = self._style.paint(f"{branch}{line.role}", "36")
            self._say("  ".join([f"{level}: {line.common_name}", *line.remarks]))
        return chain

    async def _start(self, chain: Chain) -> Gateway:
        gateway, port = Gateway(chain=chain, mqtt_port=MQTTS), MQTTS
        try:
            await gateway.start()
        except PortError:
            gateway, port = Gateway(chain=chain), 0
            await gateway.start()
        self._act("The gateway", "It listens as Edge Hub does: MQTT over TLS, on loopback only.")
        busy = "" if port else f"   (port {MQTTS} is taken, so another one)"
        self._say(f"{gateway.hostname} listens on {gateway.bind}:{gateway.mqtt_port}{busy}")
        return gateway

    async def _show_telemetry(self, gateway: Gateway) -> None:
        self._act("Three leaves", "Each has a connection string with GatewayHostName, and trusts the root.")
        devices = [await asyncio.to_thread(self._connected, gateway, name) for name in LEAVES]
        self._say("")
        for device, reading in zip(devices, LEAVES.values(), strict=True):
            await asyncio.to_thread(device.send, {"temperature": reading})
            message = await gateway.upstream.inbox.next_message(timeout=10)
            arrived = f"{message.enqueued_time:%H:%M:%S}  {message.device_id:<8}  {message.body.decode()}"
            self._say(f"{self._label('upstream')}{arrived}")
        for device in devices:
            await asyncio.to_thread(device.disconnect)

    def _connected(self, gateway: Gateway, name: str) -> Device:
        text = gateway.connection_string(name)
        port = gateway.mqtt_port
        here = {(gateway.hostname, port): (gateway.bind, port)}
        device = Device(text, trust=gateway.root_ca, port=port, connect_to=here)
        device.connect()
        # The key is the one secret in the text; a demonstration is projected on walls.
        start, _, rest = text.partition("SharedAccessKey=")
        if name == next(iter(LEAVES)):
            self._say(f"{start}\n    SharedAccessKey=...;{rest.partition(';')[2]}\n")
        self._say(f"{self._label(name)}connected to {gateway.hostname}")
        return device

    async def _show_failures(self) -> list[Result]:
        failures = [loaded for loaded in load_all(names().values()) if is_failure(loaded)]
        text = f"{len(failures)} ways in which it goes wrong in the field: what each side sees, why, and the fix."
        self._act("The failures", text)
        shown: list[Result] = []

        def show(result: Result) -> None:
            if shown:
                self._pause()
            shown.append(result)
            for line in self._failure(len(shown), result):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()

        seed = derive(self._seed, "demo")
        if not self._step:
            await play_all(failures, seed=seed, jobs=JOBS, each=show)
            return shown
        for loaded in failures:  # nothing else may be under way while somebody is thinking
            show(await play(loaded, seed=seed))
        return shown

    def _failure(self, number: int, result: Result) -> Iterator[str]:
        style = self._style
        mark = style.paint(f"{number:2}", "1") if result.status == "passed" else style.paint(" ✗", "31")
        yield f"{mark}  {style.paint(result.name, '1')}"
        yield from self._field("", result.claim)
        for who, text in self._seen(result):
            yield from self._field(who, text)
        if result.status != "passed":
            yield from self._field("", f"not as claimed: {result.reason}")
        yield from self._field("why", result.why)
        yield from self._field("fix", result.fix)
        if result.era:
            yield from self._field("era", result.era)
        yield ""

    def _seen(self, result: Result) -> Iterator[tuple[str, str]]:
        """Each side's view once; stacks that were tried beside the leaf only say whether they agree."""
        stacks = [note for note in result.stacks if note.source == "live"]
        tried = {note.stack for note in result.stacks}
        rows = [(row.who, row.text + (f"  ({row.note})" if row.note else "")) for row in result.rows[1:]]
        rows = list(dict.fromkeys(row for row in rows if row[0] not in tried))
        yield from rows
        said = {text for _, text in rows} - {"connected"}
        answers = {note.stack: _beside(note.got, said) for note in stacks}
        for answer in dict.fromkeys(answers.values()):
            names = [stack for stack, given in answers.items() if given == answer]
            yield "also", f"{enumeration(names)}: {answer}"

    def _field(self, label: str, text: str) -> Iterator[str]:
        indent = 4 + (LABEL if label else 0)
        for number, line in enumerate(
            textwrap.wrap(printable(text), self._style.width - indent, break_on_hyphens=False)
        ):
            head = f"    {self._label(label)}" if label and number == 0 else " " * indent
            yield head + line

    def _label(self, text: str) -> str:
        return self._style.paint(f"{text:<{LABEL}}", "36")

    def _act(self, title: str, text: str) -> None:
        if self._acts:
            self._pause()
        self._acts += 1
        heading = self._style.paint(f"{self._acts}. {title}", "1;34")
        sys.stdout.write(f"\n{heading}\n   {text}\n\n")

    def _say(self, text: str) -> None:
        sys.stdout.write(textwrap.indent(text, "   ") + "\n")
        sys.stdout.flush()

    def _pause(self) -> None:
        if self._step:
            sys.stdout.write(self._style.paint("   (Enter) ", "2"))
            sys.stdout.flush()
            sys.stdin.readline()

    def _close(self, results: list[Result], duration: float) -> int:
        wrong = [result for result in results if result.status not in ("passed", "skipped")]
        sys.stdout.write(f"{len(results) - len(wrong)} of {len(results)} failures came out as claimed, ")
        sys.stdout.write(f"in {duration:.1f} s (seed {self._seed}).\n\n")
        sys.stdout.write("Next:  leafgate up --leaf dev1          a gateway for your own device\n")
        sys.stdout.write("       leafgate run tls -v              the same as tests, each with its passing twin\n")
        sys.stdout.write("       leafgate list                    everything in the library\n")
        return 1 if wrong else 0


def is_failure(loaded: Loaded) -> bool:
    """Whether the scenario shows a connection that is refused."""
    return any(isinstance(step, Connect) and step.expect.refused for step in loaded.scenario.steps)


def _beside(got: str, said: set[str]) -> str:
    """What another stack answered, beside what has been shown already; `leafgate run -v` has its words."""
    if got in said:
        return "the same"
    return got if got == "connected" else "refused, in words of their own"
