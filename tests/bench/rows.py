"""What is measured: one row per promise, with its target.

A row against mosquitto is measured in pairs: both servers run all the time, do the same work in turn (the order changes
with each repeat), and the ratio is the median of the pairs' ratios, because absolute figures drift with the machine.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from certs import Authority, layout
from tests.bench import backlog, load
from tests.bench.servers import Leafgate, Mosquitto

_COMMAND = [str(Path(sys.executable).with_name("leafgate"))]


@dataclass(frozen=True)
class Scale:
    """How much work a repeat is."""

    repeats: int
    connections: int = 300
    messages: int = 20_000
    idle: int = 500
    backlog: int = 100_000
    stored: int = 1_000_000
    warmup: float = 0.2  # part of a repeat that both servers do beforehand, not measured


@dataclass
class Result:
    """One row's figures. `samples` and `peer_samples` are in `unit`; the target is on the ratio if there is a peer."""

    name: str
    unit: str
    target: float
    samples: list[float]
    peer_samples: list[float] = field(default_factory=list)
    absolute: bool = False  # the target is on the value although there is a peer

    @property
    def value(self):
        """The median."""
        return statistics.median(self.samples)

    @property
    def peer(self):
        """The peer's median."""
        return statistics.median(self.peer_samples) if self.peer_samples else None

    @property
    def ratio(self):
        """The median of the pairs' ratios."""
        pairs = zip(self.samples, self.peer_samples, strict=False)
        return statistics.median(ours / theirs for ours, theirs in pairs) if self.peer_samples else None

    @property
    def met(self):
        """Whether the target is met."""
        return (self.value if self.absolute or self.ratio is None else self.ratio) <= self.target

    def json(self):
        """Everything, for a file."""
        facts = {name: getattr(self, name) for name in ("name", "unit", "value", "peer", "ratio", "target", "met")}
        return facts | {"absolute": self.absolute, "samples": self.samples, "peer_samples": self.peer_samples}


def connect(scale, folder):
    """TLS 1.3 with a new EC chain of five, CONNECT with a SAS token, DISCONNECT: CPU per connection."""

    def begin(server, tls, devices):
        def work(part):
            count = max(8, int(scale.connections * part))
            load.connect_and_leave(server.port, tls, islice(cycle(devices), count))
            return count

        return work

    return Result("connect", "ms CPU", 1.6, *_paired(scale, folder, 64, begin, 1e3, stored=False))


def window20(scale, folder):
    """50 publishers with 20 unacknowledged messages of 200 bytes each: CPU per message."""
    return Result("window20", "us CPU", 1.0, *_publishing(scale, folder, publishers=50, window=20))


def window20_one(scale, folder):
    """The same with a single publisher, so that a batch is never larger than 20."""
    return Result("window20-one", "us CPU", 1.0, *_publishing(scale, folder, publishers=1, window=20))


def window1(scale, folder):
    """50 publishers that wait for each PUBACK: CPU per message."""
    return Result("window1", "us CPU", 2.0, *_publishing(scale, folder, publishers=50, window=1))


def twin(scale, folder):
    """50 devices that ask for their twins, one request at a time, beside a stored message under the same conditions."""

    def begin(server, leaves):
        return lambda count: load.ask_for_twins(leaves, count)

    return Result("twin", "us CPU", 3.0, *_beside_publish(scale, folder, "$iothub/twin/res/#", 0, begin))


def method(scale, folder):
    """50 devices that answer direct methods, one call at a time each: CPU per round trip, the caller's included."""

    def begin(server, leaves):
        def work(count):
            server.order("methods", count)
            load.answer_methods(leaves, count)
            server.finished()
            return count

        return work

    return Result("method", "us CPU", 3.0, *_beside_publish(scale, folder, "$iothub/methods/POST/#", 0, begin))


def c2d(scale, folder):
    """50 devices that take cloud-to-device messages and acknowledge them: CPU per message, the sender's included."""

    def begin(server, leaves):
        def work(count):
            server.order("commands", count)
            load.take_commands(leaves, count)
            server.finished()
            return count

        return work

    return Result(
        "c2d", "us CPU", 3.0, *_beside_publish(scale, folder, "devices/{id}/messages/devicebound/#", 1, begin)
    )


def routes(scale, folder):
    """A stored message with three routes whose conditions the topic decides, beside one with a route without any."""
    return Result("routes", "us CPU", 1.2, *_routing(scale, folder, 1))


def routes_body(scale, folder):
    """The same when one of the three asks for a value in the body, which is JSON of 200 bytes."""
    return Result("routes-body", "us CPU", 1.2, *_routing(scale, folder, 2))


def drain(scale, folder):
    """Messages that waited in SQLite while the cloud was away, until they have arrived and are forgotten."""
    made = Authority(key="ec").chain()
    samples = []
    for number in range(scale.repeats):
        state = folder / f"drain{number}"
        state.mkdir()
        layout.save(made, state)
        backlog.prepare(state, scale.backlog)
        command = [sys.executable, "-m", "tests.bench.backlog", str(state), str(scale.backlog)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        samples.append(1e6 * json.loads(said)["seconds"] / scale.backlog)
        shutil.rmtree(state)
    return Result("drain", "us wall", 50, samples)


def up_again(scale, folder):
    """`leafgate up` on a state folder in which a million messages wait, until its ready file is there."""
    state = folder / "state"
    _time_up(folder, "--state", str(state))
    backlog.prepare(state, scale.stored)
    return Result("up-again", "s", 2, [_time_up(folder, "--state", str(state)) for _ in range(scale.repeats + 1)][1:])


def idle(scale, folder):
    """Resident memory of a connected client that does nothing, in a fresh process."""
    chain = Authority(key="ec").chain()
    tls = load.context(chain.trust_pem)
    samples = {"leafgate": [], "mosquitto": []}
    leafgate, mosquitto = Leafgate(chain, folder, scale.idle + 10), Mosquitto(chain, folder)
    for _ in range(max(1, scale.repeats // 2)):
        for kind in (leafgate, mosquitto):
            with kind.running() as server:
                devices = _devices(leafgate)
                first = load.connect_all(server.port, tls, devices[:10])  # what is only ever allocated once
                before = server.rss()
                more = load.connect_all(server.port, tls, devices[10:])
                samples[kind.name].append((server.rss() - before) / len(more) / 1024)
                for leaf in first + more:
                    leaf.close()
    return Result("idle", "KiB RSS", 40, samples["leafgate"], samples["mosquitto"], absolute=True)


def chain(scale, folder):
    """A new five-certificate EC chain, warm."""
    samples = []
    for _ in range(5 + 10 * scale.repeats):
        start = time.perf_counter()
        made = Authority(key="ec").chain()
        samples.append(1e3 * (time.perf_counter() - start))
        assert len(made.levels) == 5
    return Result("chain", "ms", 5, samples[5:])


def up(scale, folder):
    """`leafgate up` with a new EC chain, from start until its ready file is there."""
    return Result("up", "s", 1, [_time_up(folder) for _ in range(scale.repeats + 1)][1:])


def help_text(scale, folder):
    """`leafgate --help`."""
    samples = []
    for _ in range(scale.repeats + 1):
        start = time.perf_counter()
        subprocess.run([*_COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
        samples.append(time.perf_counter() - start)
    return Result("help", "s", 0.3, samples[1:])


ROWS = {
    "connect": connect,
    "window20": window20,
    "window20-one": window20_one,
    "window1": window1,
    "twin": twin,
    "method": method,
    "c2d": c2d,
    "routes": routes,
    "routes-body": routes_body,
    "drain": drain,
    "idle": idle,
    "chain": chain,
    "up": up,
    "up-again": up_again,
    "help": help_text,
}
NEED_MOSQUITTO = frozenset({"connect", "window20", "window20-one", "window1", "idle"})


def _publishing(scale, folder, *, publishers, window):
    """The pairs of a row that publishes over connections that stay open."""

    def begin(server, tls, devices):
        leaves = load.connect_all(server.port, tls, devices)
        return lambda part: load.publish(leaves, window, int(scale.messages * part))

    return _paired(scale, folder, publishers, begin, 1e6, stored=True)


def _beside_publish(scale, folder, topic_filter, qos, begin):
    """The pairs of a row beside a stored message of the same server, one at a time per connection."""
    made = Authority(key="ec").chain()
    kind = Leafgate(made, folder, 50)
    samples, peer = [], []
    count = scale.messages // 4 // 50 * 50
    with kind.running() as server:
        leaves = load.connect_all(server.port, load.context(made.trust_pem), _devices(kind))
        load.subscribe(leaves, topic_filter, qos)
        work = begin(server, leaves)
        turns = [(work, samples), (lambda number: load.publish(leaves, 1, number), peer)]
        for each, _ in turns:
            each(count // 5 // 50 * 50)
        for repeat in range(scale.repeats):
            for each, kept in turns if repeat % 2 else turns[::-1]:
                start = server.cpu()
                done = each(count)
                kept.append(1e6 * (server.cpu() - start) / done)
    return samples, peer


def _routing(scale, folder, number):
    """The pairs of 50 publishers with a window of 20 with a set of routes, and with a route without conditions."""
    made = Authority(key="ec").chain()
    kind = Leafgate(made, folder, 50)
    samples, peer, sent = [], [], []
    bag = "level=info&limit=80&site=hall&%24.ct=application%2Fjson&%24.ce=utf-8"
    with kind.running(lambda: sum(sent)) as server:
        leaves = load.connect_all(server.port, load.context(made.trust_pem), _devices(kind, bag))
        for repeat in range(-1, scale.repeats):
            turns = [(number, samples), (0, peer)]
            for which, kept in turns if repeat % 2 else turns[::-1]:
                server.order("routes", which)
                server.finished()
                start = server.cpu()
                sent.append(load.publish(leaves, 20, int(scale.messages * (scale.warmup if repeat < 0 else 1))))
                kept.extend([1e6 * (server.cpu() - start) / sent[-1]] if repeat >= 0 else [])
    return samples, peer


def _paired(scale, folder, device_count, begin, factor, *, stored):
    """Samples of both servers: CPU seconds times `factor`, by how often the work was done.

    `begin(server, tls, devices)` gives the work: a function of the part of a repeat to do that returns how much it did.
    """
    made = Authority(key="ec").chain()
    tls = load.context(made.trust_pem)
    kinds = (Leafgate(made, folder, device_count), Mosquitto(made, folder))
    samples = {kind.name: [] for kind in kinds}
    done = []
    with ExitStack() as stack:
        expected = (lambda: sum(done)) if stored else None
        servers = [stack.enter_context(kind.running(expected)) for kind in kinds]
        devices = _devices(kinds[0])
        works = [(server, begin(server, tls, devices)) for server in servers]
        done += [work(scale.warmup) for server, work in works if server.name == "leafgate"]
        works[1][1](scale.warmup)
        for repeat in range(scale.repeats):
            for server, work in works if repeat % 2 else works[::-1]:
                start = server.cpu()
                count = work(1.0)
                samples[server.name].append(factor * (server.cpu() - start) / count)
                done += [count] if server.name == "leafgate" else []
    return samples["leafgate"], samples["mosquitto"]


def _devices(leafgate, bag=""):
    return [load.Device(name, text, bag=bag) for name, text in leafgate.devices.items()]


def _time_up(folder, *options):
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    start = time.perf_counter()
    command = [
        *_COMMAND,
        "up",
        "--mqtt-port",
        "0",
        "--key",
        "ec",
        "--leaf",
        "dev1",
        "--ready-file",
        str(ready),
        *options,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    ) as process:
        while not ready.exists():
            if process.poll() is not None or time.perf_counter() - start > 30:
                process.kill()
                raise load.LoadError("`leafgate up` did not become ready")
            time.sleep(0.001)
        took = time.perf_counter() - start
        process.send_signal(signal.SIGTERM)
        if process.wait(10) != 0:
            raise load.LoadError("`leafgate up` did not stop cleanly")
    return took
