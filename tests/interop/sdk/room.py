"""A gateway in a room with real SDKs: identities, routes to its ports, and everything it says."""

import asyncio

from tests.interop.sdk.process import PATIENCE, SdkClient

SDKS = ("python", "node")
TRANSPORTS = ("mqtt", "ws")


class Room:
    """A started gateway with the events it has emitted."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.events = []
        self._happened = asyncio.Event()
        gateway.events.subscribe(self._note)

    def _note(self, event):
        self.events.append(event)
        self._happened.set()

    async def event(self, kind, count=1, **facts):
        """The `count`th event of that kind with those fields, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [event for event in self.events if isinstance(event, kind) and _has(event, facts)]
                if len(found) >= count:
                    return found[count - 1]
                self._happened.clear()
                await self._happened.wait()

    def of(self, kind):
        """The events of that kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def root(self):
        """The PEM text that leaves trust."""
        return self.gateway.chain.trust_pem.decode()

    @property
    def ports(self):
        """The free ports by the ones that SDKs want."""
        return {8883: self.gateway.mqtt_port, 443: self.gateway.https_port}

    async def message(self, device_id="dev1"):
        """The next message of a device that arrived upstream."""
        return await self.gateway.upstream.inbox.next_message(device_id, timeout=PATIENCE)

    async def route(self, sdk, host=None):
        """Have an SDK's connections to `host` come to this gateway, on its free ports."""
        host = host or self.gateway.hostname
        for usual, port in self.ports.items():
            await sdk.call("route", host=host, port=usual, to=[self.gateway.bind, port])

    async def client(self, sdk, device_id="dev1", module_id=None, *, name=None, host=None, change=str, **given):
        """A client with a good connection string, not connected yet; `given` changes what it is told.

        `host` is the GatewayHostName, `ca` the PEM text it trusts (None: the system's store); `change` is done to the
        connection string last.
        """
        host = host or self.gateway.hostname
        await self.route(sdk, host)
        text = self.gateway.connection_string(device_id, module_id)
        identity = {
            "connection_string": change(text.rpartition("GatewayHostName=")[0] + f"GatewayHostName={host}"),
            "ca": self.root,
            "module": module_id is not None,
        }
        name = name or (f"{device_id}/{module_id}" if module_id else device_id)
        return SdkClient(sdk, name, {**identity, **given})

    async def open_x509(self, sdk, name="dev1", **given):
        """A connected client that shows a certificate."""
        await self.route(sdk)
        return await SdkClient(sdk, name, {"ca": self.root, **given}).open()

    async def open_edge_module(self, sdk, device_id, module_id, **given):
        """A connected module that is configured by environment variables, as on an edge device."""
        await self.route(sdk)
        text = self.gateway.connection_string(device_id, module_id)
        edge = {"EdgeHubConnectionString": text, "EdgeModuleCACertificateFile": str(self.gateway.root_ca)}
        return await SdkClient(sdk, f"{device_id}/{module_id}", {"edge": edge, "module": True, **given}).open()

    async def open(self, sdk, *identity, **given):
        """A connected client; SdkError when it does not connect."""
        return await (await self.client(sdk, *identity, **given)).open()


def _has(event, facts):
    return all(getattr(event, key) == fact for key, fact in facts.items())
