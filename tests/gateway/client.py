"""A raw MQTT/TLS client: every byte, record and half handshake is the test's own decision.

TLS runs over memory BIOs, so that what the gateway sends is seen as it comes, alerts included.
"""

import asyncio
import contextlib
import ssl
import struct
import warnings
from pathlib import Path

PATIENCE = 20  # a guard against a hanging test, never part of what is tested


def descriptor_count():
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def tls_context(chain=None, *, versions=None, certificate=None):
    """A client context that trusts `chain` (None: nothing); `versions` is (lowest, highest), "1.0" to "1.3"."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if chain is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=chain if isinstance(chain, str) else chain.trust_pem.decode())
    if versions:
        if min(versions) < "1.2":
            context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 and 1.1 are meant
            context.minimum_version, context.maximum_version = (
                ssl.TLSVersion[f"TLSv{'1' if one == '1.0' else one.replace('.', '_')}"] for one in versions
            )
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


class Client:
    """One connection; opened by `Client.tcp` or `Client.tls`."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.ssl = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._plain = bytearray()

    @classmethod
    async def tcp(cls, port, *, receive_buffer=None):
        """Connect without TLS."""
        if receive_buffer is None:
            return cls(*await asyncio.open_connection("127.0.0.1", port))
        import socket

        plug = socket.socket()
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plug.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=plug, limit=1024))

    @classmethod
    async def tls(cls, port, context, *, server_name="localhost", session=None, receive_buffer=None):
        """Connect and do the TLS handshake; ssl.SSLError is what OpenSSL on this side says."""
        client = await cls.tcp(port, receive_buffer=receive_buffer)
        try:
            client.wrap(context, server_name, session)
            await client.handshake()
        except BaseException:
            client.abort()
            raise
        return client

    def wrap(self, context, server_name="localhost", session=None):
        """Prepare TLS; nothing is sent yet."""
        self.ssl = context.wrap_bio(self._in, self._out, server_hostname=server_name, session=session)

    async def handshake(self):
        """Do the handshake; our own alert is sent before the error is raised."""
        while True:
            try:
                self.ssl.do_handshake()
            except ssl.SSLWantReadError:
                self._push()
                await self._pull()
            except ssl.SSLError:
                self._push()
                raise
            else:
                return self._push()

    def hello(self):
        """The bytes with which the handshake would begin."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.do_handshake()
        return self._out.read()

    def raw(self, data):
        """Put bytes on the wire as they are."""
        self.writer.write(data)

    def send(self, *packets):
        """One TLS record per packet, all in one segment."""
        for each in packets:
            self.ssl.write(each)
        self._push()

    def records(self, *packets):
        """The TLS records of these packets, not sent."""
        for each in packets:
            self.ssl.write(each)
        return self._out.read()

    def close_notify(self):
        """The close_notify alert, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.unwrap()
        return self._out.read()

    async def packet(self):
        """The next packet; EOFError when the gateway closes first."""
        while (end := self._packet_end()) is None:
            await self._more()
        whole = bytes(self._plain[:end])
        del self._plain[:end]
        return whole

    async def packets(self, count):
        """The next packets."""
        return [await self.packet() for _ in range(count)]

    async def exactly(self, count):
        """The next plain bytes; EOFError when the gateway closes first."""
        while len(self._plain) < count:
            await self._more()
        return self._take(count)

    async def until(self, mark):
        """The next plain bytes up to and with `mark`."""
        while (found := self._plain.find(mark)) < 0:
            await self._more()
        return self._take(found + len(mark))

    def _take(self, count):
        taken = bytes(self._plain[:count])
        del self._plain[:count]
        return taken

    async def rest(self):
        """Every plain byte until the gateway closes."""
        try:
            while True:
                await self._more()
        except (EOFError, ConnectionError):
            return bytes(self._plain)

    async def eof(self):
        """Wait until the gateway closes; anything it says before that fails the test."""
        left = await self.rest()
        assert left == b"", f"unexpected {left!r}"

    async def raw_rest(self):
        """Every raw byte until the gateway closes."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def abort(self):
        """Close the socket without a word."""
        self.writer.transport.abort()

    def reset(self):
        """Close the socket with a TCP reset."""
        import socket

        plug = self.writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    @property
    def peer(self):
        """How the gateway names this connection."""
        return "{}:{}".format(*self.writer.get_extra_info("sockname")[:2])

    def _packet_end(self):
        length = 0
        for index in range(1, min(5, len(self._plain))):
            length |= (self._plain[index] & 127) << 7 * (index - 1)
            if self._plain[index] < 128:
                end = index + 1 + length
                return end if end <= len(self._plain) else None
        return None

    async def _more(self):
        while True:
            try:
                data = self.ssl.read(65536)
            except ssl.SSLWantReadError:
                self._push()
                await self._pull()
                continue
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                raise EOFError
            self._plain += data
            return

    def _push(self):
        if data := self._out.read():
            self.writer.write(data)

    async def _pull(self):
        async with asyncio.timeout(PATIENCE):
            data = await self.reader.read(65536)
        if not data:
            raise EOFError
        self._in.write(data)
