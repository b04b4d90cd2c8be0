"""The two servers as processes: started, measured, stopped."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certs import layout
from tests.bench.load import LoadError

_CONFIGURATION = """\
listener {port} 127.0.0.1
certfile {folder}/served.pem
keyfile {folder}/served.key.pem
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 100
max_queued_messages 0
persistence false
log_type none
user root
"""


@dataclass
class Server:
    """A running server."""

    name: str
    process: Any
    port: int

    def order(self, kind, count):
        """Let leafgate begin work of its own (`methods`, `commands`)."""
        self.process.stdin.write(f"{kind} {count}\n")
        self.process.stdin.flush()

    def finished(self):
        """Wait until that work is done."""
        if "done" not in json.loads(self.process.stdout.readline() or "{}"):
            raise LoadError("leafgate did not finish")

    def cpu(self):
        """Seconds of CPU of the whole process so far, all its threads, user and system (clock_getcpuclockid(3))."""
        clock = ctypes.c_int()
        if failed := ctypes.CDLL(None).clock_getcpuclockid(self.process.pid, ctypes.byref(clock)):
            raise LoadError(f"{self.name}: its CPU time cannot be read: {os.strerror(failed)}")
        return time.clock_gettime_ns(clock.value) / 1e9

    def rss(self):
        """Resident memory in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))


class Leafgate:
    """Starts `tests.bench.server`."""

    name = "leafgate"

    def __init__(self, chain, folder, devices):
        self._folder, self._devices = folder / "leafgate", devices
        self._folder.mkdir()
        layout.save(chain, self._folder)
        self.devices = {}

    @contextmanager
    def running(self, expected=None):
        """A fresh process; `expected` is called at the end for how many messages must have arrived upstream."""
        command = [sys.executable, "-m", "tests.bench.server", str(self._folder), str(self._devices)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                ready = json.loads(process.stdout.readline() or "null")
                if ready is None:
                    raise LoadError("leafgate did not start")
                self.devices = ready["devices"]
                yield Server(self.name, process, ready["port"])
                process.stdin.close()
                delivered = json.loads(process.stdout.readline())["delivered"]
                if expected is not None and delivered != expected():
                    raise LoadError(f"leafgate was sent {expected()} messages and {delivered} arrived upstream")
            finally:
                process.terminate()


class Mosquitto:
    """Starts Debian's mosquitto with the same chain and key."""

    name = "mosquitto"

    def __init__(self, chain, folder):
        self._folder = folder / "mosquitto"
        self._folder.mkdir(mode=0o700)
        (self._folder / "served.pem").write_bytes(chain.sent_pem)
        (self._folder / "served.key.pem").write_bytes(chain.key_pem)

    @staticmethod
    def program():
        """Where it is; None when it is not installed."""
        return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

    @contextmanager
    def running(self, expected=None):
        """A fresh process; it stores nothing, so there is nothing to expect."""
        port = _free_port()
        configuration = self._folder / "mosquitto.conf"
        configuration.write_text(_CONFIGURATION.format(port=port, folder=self._folder))
        with subprocess.Popen([self.program(), "-c", str(configuration)], stderr=subprocess.PIPE) as process:
            try:
                _await_port(process, port)
                yield Server(self.name, process, port)
            finally:
                process.terminate()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_port(process, port):
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    process.kill()
    raise LoadError(f"mosquitto did not start: {process.stderr.read().decode()}")
