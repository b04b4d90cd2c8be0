"""A gateway to be killed again and again: `python -m tests.gateway.killed FOLDER DEVICES`.

FOLDER holds a chain as certs.layout saves it and becomes the gateway's state. Each line on standard input, the state of
the link to begin with, starts a gateway in a process of its own, which says with a JSON line on standard output which
process it is and where it listens. It runs until it is killed; after SIGTERM until everything is upstream.
What arrives upstream is appended to FOLDER/upstream.txt, a line for each message: device, the gateway's number for it,
body. It is there before the store is told that it has arrived.

The processes are forks of this one, so that fifty of them do not import everything fifty times.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from certs import layout
from gateway import Gateway


def begin(folder):
    """The gateway, not started yet."""
    return Gateway(chain=layout.load(folder), state=folder, store="sqlite", https_port=None)


def tap(gateway, path):
    """Write down what the line to the cloud carries, before anybody hears that it has arrived."""
    carry = gateway.upstream.link.send
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def send(messages, done):
        def arrived(failed):
            lines = [b"%s %d %s\n" % (one.device_id.encode(), one.sequence, one.body) for one in messages]
            if not failed:
                os.write(file, b"".join(lines))
            done(failed)

        carry(messages, arrived)

    gateway.upstream.link.send = send


async def serve(folder, link):
    """Run one life: until it is killed, or after SIGTERM until nothing waits."""
    gateway = begin(folder)
    tap(gateway, folder / "upstream.txt")
    gateway.upstream.link.switch(link)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with gateway:
        tell({"pid": os.getpid(), "port": gateway.mqtt_port})
        await ending.wait()
        while any(gateway.queue_lengths.values()):  # noqa: ASYNC110 - nothing tells when a queue is empty
            await asyncio.sleep(0.05)
    tell({"finished": True})


def tell(facts):
    """One JSON line."""
    os.write(1, json.dumps(facts).encode() + b"\n")


def main():
    """Fork a gateway for each line."""
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    gateway = begin(folder)
    tell({"devices": {name: gateway.connection_string(name) for name in (f"dev{n}" for n in range(devices))}})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                asyncio.run(serve(folder, line.strip()))
            except BaseException as failure:
                tell({"failed": repr(failure)})
                raise
            os._exit(0)


if __name__ == "__main__":
    main()
