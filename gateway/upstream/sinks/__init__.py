"""Where messages go that have arrived at IoT Hub, beside the memory in which they are read.

A sink is one small class with `open`, `take` and `close`. It is handed to `Gateway(sinks=[...])` as an object, or named
on the command line (`--sink NAME:KEY=VALUE,...`); for that it is registered: by an entry point of the group
`leafgate.sinks` in anybody's package, or by `register`.
"""

from gateway.upstream.sinks.catalogue import names as names
from gateway.upstream.sinks.catalogue import read as read
from gateway.upstream.sinks.catalogue import register as register
from gateway.upstream.sinks.sink import Sink as Sink
from gateway.upstream.sinks.sink import SinkError as SinkError

__all__ = ["Sink", "SinkError", "names", "read", "register"]
