"""A leaf in its own process, for what only a process can have: its system store.

`python -m leafsim.process` reads one JSON object from its standard input (the connection string is a secret, so it is
no argument and no environment variable) and prints one JSON object, as `leafgate leaf connect --json` does.
OpenSSL looks for the system's certificates in SSL_CERT_FILE when it is set: `connect_in_process` sets it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leafsim.address import with_port
from leafsim.connection import ConnectionString
from leafsim.device import Device
from leafsim.errors import LeafError
from leafsim.outcome import as_json, from_json
from leafsim.routes import Address, parse_routes

_TO_START = 30.0  # seconds for Python to start on a busy machine, on top of the time to connect


def connect_in_process(
    connection: str | ConnectionString,
    *,
    store: Path | None,
    port: int = 8883,
    connect_to: Mapping[Address, Address] | None = None,
    timeout: float = 10.0,
    **options: Any,
) -> dict[str, Any]:
    """Let a leaf with `store` as its system store connect and disconnect; returns what it found out.

    Raises what Device.connect raises. `options` are `client_id`, `username`, `sas_expires` and others of Device that
    JSON can say; `store=None` leaves the machine's own store in place.
    """
    request = {
        "connection_string": str(connection),
        "port": port,
        "connect_to": [f"{with_port(*name)}:{with_port(*to)}" for name, to in (connect_to or {}).items()],
        "timeout": timeout,
        "options": options,
    }
    found = _run(json.dumps(request), _environment(store), timeout + _TO_START)
    error = from_json(found)
    if error is not None:
        raise error
    return found


def _run(request: str, environment: dict[str, str], seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "leafsim.process"]
    try:
        done = subprocess.run(  # noqa: S603 - this Python and this module
            command, input=request.encode(), capture_output=True, env=environment, timeout=seconds, check=False
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise LeafError(f"the leaf's process did not end within {seconds:g} s", "is the machine overloaded?") from None
    except ValueError:
        raise LeafError("the leaf's process gave no answer", "run `leafgate leaf connect` to see why") from None
    if not isinstance(answer, dict):
        raise LeafError("the leaf's process gave no outcome", "run `leafgate leaf connect` to see why")
    return answer


def _environment(store: Path | None) -> dict[str, str]:
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, os.environ.get("PYTHONPATH", "")]
    changes = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if store is not None:
        changes["SSL_CERT_FILE"] = str(store)
    return {**os.environ, **changes}


def answer(request: str) -> dict[str, Any]:
    """Connect as the request says, disconnect, and say how it went."""
    try:
        asked = json.loads(request)
        device = Device(
            asked["connection_string"],
            trust="system",
            port=asked["port"],
            connect_to=parse_routes(asked["connect_to"]),
            **asked["options"],
        )
        device.connect(timeout=asked["timeout"])
        facts = {"session_present": device.session_present, "tls": device.tls_version}
        device.disconnect()
    except LeafError as error:
        return as_json(error)
    return as_json(None, **facts)


if __name__ == "__main__":
    print(json.dumps(answer(sys.stdin.read())))  # noqa: T201 - the answer is what this program is for
