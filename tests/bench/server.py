"""The gateway under test, in a process of its own: `python -m tests.bench.server FOLDER DEVICES`.

FOLDER holds a chain as certs.layout saves it and becomes the gateway's state, so that messages are stored in SQLite.
Prints one JSON line when ready. A line `methods N` or `commands N` on its standard input makes it call N direct methods
(one at a time per device) or send N cloud-to-device messages (20 at a time), and print a line when all are done;
`routes N` makes it use the N-th set of routes. When standard input ends it stops and prints how many messages arrived
upstream.
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
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            kind, number = line.split()
            if kind == "routes":
                use_routes(gateway, int(number))
                tell({"done": 1})
                continue
            share = int(number) // len(devices)
            await asyncio.gather(*(_WORK[kind](gateway, device, share) for device in devices))
            tell({"done": share * len(devices)})
        inbox = gateway.upstream.inbox
        tell({"delivered": len(inbox) + inbox.forgotten})


#: without conditions; with three that the topic decides; with three of which one asks for something in the body
ROUTES = (
    {"all": "FROM /messages/* INTO $upstream"},
    {
        "alarm": "FROM /messages/* WHERE level = 'alarm' INTO BrokeredEndpoint('/modules/alarms/inputs/in')",
        "hot": "FROM /messages/* WHERE as_number(limit) > 90 AND site <> 'lab' "
        "INTO BrokeredEndpoint('/modules/hot/inputs/in')",
        "rest": "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) AND level = 'info' INTO $upstream",
    },
    {
        "alarm": "FROM /messages/* WHERE level = 'alarm' INTO BrokeredEndpoint('/modules/alarms/inputs/in')",
        "hot": "FROM /messages/* WHERE $body.temperature > 90 INTO BrokeredEndpoint('/modules/hot/inputs/in')",
        "rest": "FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) AND level = 'info' INTO $upstream",
    },
)


def use_routes(gateway, number):
    """Configure $edgeHub."""
    client_id = f"{gateway.edge_device_id}/$edgeHub"
    before = gateway.upstream.twins.get(client_id).desired.get("routes", {})
    gateway.upstream.twins.update_desired(
        client_id,
        {
            "schemaVersion": "1.1",
            "routes": dict.fromkeys(before) | ROUTES[number],
            "storeAndForwardConfiguration": {"timeToLiveSecs": -1},
        },
    )


async def call_methods(gateway, device, count):
    """Call a device's method again and again."""
    for _ in range(count):
        result = await gateway.invoke_method(device, "ping", {"n": 1})
        if result.status != 200:
            raise RuntimeError(f"{device} answered {result}")


async def send_commands(gateway, device, count):
    """Send a device messages, a new one for each that it has acknowledged."""
    commands, sent = gateway.upstream.commands, 0
    while sent < count or commands.depth(device):
        while sent < count and commands.depth(device) < 20:
            commands.send(device, b'{"temperature":21.5}', {"unit": "C"})
            sent += 1
        await asyncio.sleep(0.001)


_WORK = {"methods": call_methods, "commands": send_commands}


def tell(facts):
    """One JSON line."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
