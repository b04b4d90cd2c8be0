"""The asynchronous face of a device.

async with Leaf(connection_string, trust=Path("root.pem")) as leaf:
    await leaf.send({"temperature": 21})
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from leafsim.connection import ConnectionString
from leafsim.device import Body, Device
from leafsim.errors import NotAcknowledged


class Leaf:
    """A leaf for asyncio; takes what Device takes. Waiting for an acknowledgement costs no thread."""

    def __init__(self, connection_string: str | ConnectionString, **options: Any) -> None:
        self.device = Device(connection_string, **options)

    def __repr__(self) -> str:
        return f"Leaf({self.device.client_id!r} at {self.device.connection.target}:{self.device.port})"

    async def connect(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - the device keeps the deadline itself
        """Connect as Device.connect does; a cancelled attempt leaves no connection behind."""
        attempt = asyncio.ensure_future(asyncio.to_thread(self.device.connect, timeout))
        try:
            await asyncio.shield(attempt)
        except asyncio.CancelledError:
            attempt.add_done_callback(self._drop)
            raise

    def _drop(self, attempt: asyncio.Future[None]) -> None:
        if not attempt.cancelled() and attempt.exception() is None:
            self.device.disconnect()

    async def disconnect(self) -> None:
        """Disconnect as Device.disconnect does."""
        await asyncio.to_thread(self.device.disconnect)

    async def send(
        self,
        body: Body,
        properties: Mapping[str, str | None] | None = None,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109 - as Device.send has it
        **system: str | None,
    ) -> None:
        """Send as Device.send does: `message_id`, `content_type` and `content_encoding` are the system properties."""
        sent = asyncio.wrap_future(self.device.submit(body, properties, **system))
        try:
            await asyncio.wait_for(sent, timeout)
        except TimeoutError:
            raise NotAcknowledged("a message", timeout) from None

    async def subscribe(self, *filters: str, qos: int = 1, timeout: float = 10.0) -> tuple[int, ...]:  # noqa: ASYNC109
        """Subscribe as Device.subscribe does."""
        return await asyncio.to_thread(self.device.subscribe, *filters, qos=qos, timeout=timeout)

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self.device.connected

    @property
    def disconnect_reason(self) -> str | None:
        """Why the last connection ended."""
        return self.device.disconnect_reason

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.disconnect()
