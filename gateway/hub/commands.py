"""Cloud-to-device messages on their way through the hub, which keeps none of them.

Rules: the hub listens at the cloud while a connected device has subscribed, and once it has stopped listening it does
not begin again before the device connects anew. The device's PUBACK completes a message; no subscription that matches
its topic rejects it; a connection that ends before PUBACK gives it back to the queue.
Every 20 seconds it asks again, so that what waited while the cloud was away comes.
Sources: SubscriptionProcessor.cs, CloudProxy.cs and DeviceMessageHandler.cs of Azure/iotedge; MqttAdapter.cs of
Azure/azure-iot-protocol-gateway.
"""

from __future__ import annotations

import logging

from gateway.hub.clients import Client, Clients, Sent
from gateway.hub.cloud import Cloud, Command
from gateway.hub.delivery import c2d_topic
from gateway.hub.subscriptions import Feature

RECEIVE_PERIOD = 20.0  # ReceiveC2DMessageTimeout of CloudProxy.cs


class CommandReceiver:
    """Takes cloud-to-device messages from the cloud and hands them to devices."""

    def __init__(self, cloud: Cloud, clients: Clients, log: logging.Logger) -> None:
        self._cloud = cloud
        self._clients = clients
        self._log = log
        self._stopped: set[Client] = set()
        self._next = 0.0

    def available(self, device_id: str) -> None:
        """There may be messages for a device."""
        client = self._clients.listening(device_id, Feature.C2D)
        if client is not None:
            self.receive(client)

    def receive(self, client: Client) -> None:
        """Hand over what waits for a client, as far as it reads."""
        if client.module_id is not None or Feature.C2D not in client.features or client in self._stopped:
            return
        while client.bound and client.proxy.writable:
            command = self._cloud.receive(client.id)
            if command is None or not self._hand_over(client, command):
                return

    def tick(self, now: float) -> None:
        """Let time take effect: ask for what has come without being told."""
        if now >= self._next:
            self._next = now + RECEIVE_PERIOD
            for client in self._clients:
                self.receive(client)

    def _hand_over(self, client: Client, command: Command) -> bool:
        def done(arrived: bool) -> None:
            (self._cloud.complete if arrived else self._cloud.abandon)(command)

        topic = c2d_topic(client.device_id, command.properties, command.system_properties)
        outcome = client.send(topic, command.body, done)
        if outcome in (Sent.NOBODY, Sent.TOO_LONG):
            self._log.warning("Message for device %s was rejected: %s", client.id, outcome.value)
            self._cloud.reject(command)
        elif outcome is Sent.BUSY:
            self._cloud.abandon(command)
        return outcome is not Sent.BUSY

    def stop(self, client: Client) -> None:
        """A client has unsubscribed."""
        self._stopped.add(client)

    def gone(self, client: Client) -> None:
        """A client's connection is over."""
        self._stopped.discard(client)
