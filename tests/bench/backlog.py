"""A state folder with messages that wait, and how long they take to go: `python -m tests.bench.backlog FOLDER COUNT`.

Starts a gateway on FOLDER, whose line to the cloud is up, and prints after how many seconds all of them had arrived
and were forgotten by the store, start included.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from certs import layout
from gateway import Gateway
from gateway.hub.messages import Message
from gateway.store.sqlite import SqliteStore

_TOGETHER = 20  # messages of one turn of the event loop, as a window of 20 makes them


def prepare(folder, count, devices=50):
    """Store so many messages of 200 bytes, as they come in from publishers with a window of 20."""
    store = SqliteStore(folder / "messages.db")
    body = json.dumps({"temperature": 21.5, "note": "x" * 164}).encode()
    now = int(time.time() * 1000)
    first = store.next_sequence()
    for start in range(first, first + count, _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, first + count))
        store.write([Message(number, f"dev{number % devices}", None, now, "{}", "{}", body, -1) for number in numbers])
    store.close()


async def drain(folder, count):
    """Run a gateway until everything has gone."""
    gateway = Gateway(chain=layout.load(folder), state=folder, store="sqlite")
    inbox = gateway.upstream.inbox
    start = time.perf_counter()
    async with gateway:
        while len(inbox) + inbox.forgotten < count:  # noqa: ASYNC110 - measured, not waited for
            await asyncio.sleep(0)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"seconds": asyncio.run(drain(Path(sys.argv[1]), int(sys.argv[2])))}) + "\n")
