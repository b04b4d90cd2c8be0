"""What may lie between TLS and MQTT on a connection: HTTP, and the WebSocket it turns into.

Rule: a carrier does no input or output. The connection hands it decrypted bytes and sends what it has to say; on the
MQTT listener there is no carrier at all, and it costs nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Host(Protocol):
    """The connection as its carrier sees it; `deadline` is when it ends by itself, on the monotonic clock.

    A carrier may hand over to another one by setting `carrier`.
    """

    carrier: Carrier | None
    channel: str
    deadline: float

    @property
    def peer(self) -> str:
        """Its address:port."""

    @property
    def client_id(self) -> str | None:
        """Its MQTT client id, once CONNECT has been read."""

    def certificates(self) -> Sequence[bytes]:
        """What the client showed in the handshake (DER), its own certificate first."""

    def speak(self) -> None:
        """Send what the carrier has to say, outside of `receive`."""


class Carrier(Protocol):
    """One connection's way to carry MQTT.

    `heard`: whether the peer has said anything. `ended`: None while it goes on, empty when it is over in good order,
    otherwise what is wrong.
    """

    heard: bool
    ended: str | None

    def receive(self, data: bytes) -> bytes:
        """Take decrypted bytes; returns the MQTT bytes in them."""

    def wrap(self, packets: list[bytes]) -> list[bytes]:
        """MQTT packets as they go out, behind what the carrier has to say by itself; the farewell comes last."""

    def expire(self) -> bool:
        """The deadline has passed; true when that is the carrier's affair, false when CONNECT is waited for."""

    def close(self) -> None:
        """The connection ends from this side: the next `wrap` is the last."""


Carriers = Callable[[Host], Carrier]
