"""A CONNECT proxy (RFC 9110 section 9.3.6), just enough to reach a gateway on free ports."""

import asyncio
import contextlib


class Proxy:
    """Opens a tunnel to `routes[(host, port)]` on loopback, and remembers what it was asked for."""

    def __init__(self):
        self.routes = {}
        self.asked = []
        self._tunnels = set()

    async def start(self):
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()

    async def stop(self):
        """Close every tunnel."""
        self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tunnels.add(asyncio.current_task())
        request = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        method, target, _ = request.split("\r\n")[0].split(" ")
        assert method == "CONNECT", method
        host, _, port = target.rpartition(":")
        self.asked.append((host, int(port)))
        beyond, out = await asyncio.open_connection("127.0.0.1", self.routes[self.asked[-1]])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, out), _copy(beyond, writer))
        finally:
            out.close()
            writer.close()


async def _copy(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
