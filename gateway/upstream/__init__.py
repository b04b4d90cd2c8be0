"""The stand-in for Azure IoT Hub: who may connect, and what arrived."""

from gateway.upstream.arrivals import Delivered as Delivered
from gateway.upstream.device import Device as Device
from gateway.upstream.inbox import Inbox as Inbox
from gateway.upstream.registry import Registry as Registry

__all__ = ["Delivered", "Device", "Inbox", "Registry"]
