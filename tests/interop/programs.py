"""Running programs that are not part of this project."""

import os
import shutil
import subprocess
import time

import pytest


def run(program, *arguments, shell_line=None):
    """Run a program to its end; a missing one fails the test, since a skipped test proves nothing."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is not installed")
    command = ["bash", "-c", shell_line] if shell_line else [program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def s_client(address, port, name, trust):
    """Look at a gateway as the documentation of IoT Edge does."""
    wanted = ("-servername", name, "-verify_hostname", name, "-CAfile", trust)
    return run("openssl", "s_client", "-showcerts", "-connect", f"{address}:{port}", *wanted)


def subjects(output):
    """The common names in the certificate list of s_client, as (depth, subject, issuer)."""
    lines = [line.strip() for line in output.splitlines()]
    found = []
    for index, line in enumerate(lines):
        depth, _, subject = line.partition(" s:")
        if depth.isdigit():
            found.append((int(depth), _common_name(subject), _common_name(lines[index + 1].removeprefix("i:"))))
    return found


def _common_name(name):
    return next(part.partition("=")[2].strip() for part in name.split(",") if part.strip().startswith("CN"))


def mosquitto_pub(leaf, *, password, trust=None, body="21", device_id=None):
    """Publish one message with QoS 1 as a leaf."""
    gateway, name = leaf.gateway, device_id or leaf.device_id
    return run(
        "mosquitto_pub",
        *("-V", "311", "-h", gateway.hostname, "-p", gateway.mqtt_port, "--cafile", trust or gateway.root_ca),
        *("-i", name, "-u", f"hub.leafgate.test/{name}/?api-version=2021-04-12", "-P", password),
        *("-q", "1", "-t", f"devices/{name}/messages/events/", "-m", body),
    )


def first_event(gateway, kind):
    """The first event of that kind; a program may be gone before the gateway has read its last words."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for event in tuple(gateway.events):
            if isinstance(event, kind):
                return event
        os.sched_yield()
    return pytest.fail(f"no {kind.__name__} among {gateway.events}")
