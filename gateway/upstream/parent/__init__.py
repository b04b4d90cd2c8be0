"""The gateway above this one: IoT Hub as a nested gateway meets it, over real TLS, MQTT and HTTPS."""

from gateway.upstream.parent.hub import ParentHub as ParentHub
from gateway.upstream.parent.place import Parent as Parent

__all__ = ["Parent", "ParentHub"]
