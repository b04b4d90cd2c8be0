"""Messages to let arrive."""

from gateway.hub.messages import Message
from gateway.upstream.arrivals import TELEMETRY, Batch, Origin

ORIGIN = Origin("637", "sas")


def message(sequence, device="press", module=None, *, body=b"{}", properties='{"a":null}', system='{"message-id":"7"}'):
    """A message as the gateway stores it."""
    return Message(sequence, device, module, 1_700_000_000_123, properties, system, body)


def batch(first, *bodies, source=TELEMETRY, device="press", origins=None, at=1_700_000_060_500):
    """A batch with these bodies, numbered on from `first`."""
    known = {(device, None): ORIGIN} if origins is None else origins
    messages = [message(number, device, body=body) for number, body in enumerate(bodies, 100)]
    return Batch(first, at, source, known, messages)


def facts(batches):
    """Everything that is in batches, to be compared."""
    return [(one.first, one.at, one.source, dict(one.origins), list(one.messages)) for one in batches]
