"""An IoT Hub without a gateway, for tests of what it does by itself."""

import logging

from gateway.hub.methods import MethodResult
from gateway.upstream.device import Device
from gateway.upstream.hub import IotHub
from gateway.upstream.inbox import Inbox
from gateway.upstream.keeper import ForgetfulKeeper
from gateway.upstream.keeping import keep_nothing
from gateway.upstream.link import Link
from gateway.upstream.registry import Registry

EDGE = "gw"


class Keeping(ForgetfulKeeper):
    """Gives what the hub keeps to a function."""

    def __init__(self, keep):
        self.keep = keep


class Gateway:
    """What is below the hub: who is connected, and what they answer to methods (in due time)."""

    def __init__(self):
        self.connected = set()
        self.calls = []
        self.told = []

    def is_connected(self, client_id):
        """Whether it is."""
        return client_id in self.connected

    def invoke(self, call, answer):
        """Keep the call of one that is connected, for the test to answer."""
        if call.client_id in self.connected:
            self.calls.append((call, answer))
        else:
            answer(MethodResult(None, b"", 404, f"Client {call.client_id} not found"))

    def desired_changed(self, client_id, patch, version):
        """Note it."""
        self.told.append((client_id, patch, version))

    def command_available(self, device_id):
        """Nobody asks."""


def make_hub(clock, *, edge=EDGE, devices=(), keep=keep_nothing, keeper=None):
    """A hub with one edge device and `devices`, and the gateway below it.

    It keeps what it knows through `keep`, or everything in `keeper`, its registry included.
    """
    registry = Registry(keeper, edge_device_id=edge, hub_hostname="hub.test")
    inbox = Inbox(10, 10_000)
    hub = IotHub(
        lambda: registry,
        inbox,
        clock,
        Link(inbox, clock.now, logging.getLogger("test")),
        keeper=keeper or Keeping(keep),
    )
    below = Gateway()
    hub.uplink.attach(below)
    for device_id in devices:
        registry.add(Device(device_id))
    return hub, below
