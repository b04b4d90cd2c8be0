"""The gateway under test, in a process of its own: `python -m tests.bench.server FOLDER DEVICES`.

FOLDER holds a chain as certs.layout saves it and becomes the gateway's state, so that messages are stored in SQLite.
Prints one JSON line when ready; when its standard input ends it stops and prints how many messages arrived upstream.
"""

import asyncio
import json
import sys
from pathlib import Path

from certs import layout
from gateway import Gateway


async def serve(folder, count):
    """Serve until standard input ends."""
    gateway = Gateway(chain=layout.load(folder), state=folder, store="sqlite")
    async with gateway:
        devices = {name: gateway.connection_string(name) for name in (f"dev{number}" for number in range(count))}
        tell({"port": gateway.mqtt_port, "devices": devices})
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        inbox = gateway.upstream.inbox
        tell({"delivered": len(inbox) + inbox.forgotten})


def tell(facts):
    """One JSON line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
