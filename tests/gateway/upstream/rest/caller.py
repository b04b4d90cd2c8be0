"""A back end that writes its requests itself, with tokens of its own reading of the rules."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass
from urllib.parse import quote

from tests.gateway.client import PATIENCE

VERSION = "api-version=2021-04-12"


def token(key, policy, resource, expiry):
    """A service token ("Control access to IoT Hub with shared access signatures")."""
    quoted = quote(resource, safe="")
    digest = hmac.new(base64.b64decode(key), f"{quoted}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={quoted}&sig={signature}&se={expiry}&skn={policy}"


@dataclass
class Answer:
    """What came back; the first word of an error's message is its `code`."""

    status: int
    headers: dict
    body: object

    @property
    def code(self):
        """The code in the body, which the header has to repeat."""
        code = self.body["Message"].removeprefix("ErrorCode:").partition(";")[0]
        assert self.headers["iothub-errorcode"] == code
        assert self.body["Message"].startswith("ErrorCode:")
        assert self.body["ExceptionMessage"].startswith("Tracking ID:")
        return code

    @property
    def message(self):
        """The text after the code."""
        return self.body["Message"].partition(";")[2]


class Caller:
    """Calls the service API of one gateway."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.context = ssl.create_default_context(cafile=str(gateway.hub_root_ca))

    def token(self, policy="iothubowner", *, resource="hub.leafgate.test", ttl=3600, key=None):
        """A good token, unless something is said to make it a bad one."""
        known = policy if policy in ("iothubowner", "service", "device", "registryRead", "registryReadWrite") else None
        key = key or self.gateway.policies.key(known or "iothubowner")
        return token(key, policy, resource, int(self.gateway.clock.now()) + ttl)

    async def raw(self, *data):
        """Every byte that comes back for these."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.gateway.hub_port, ssl=self.context, server_hostname="hub.leafgate.test"
        )
        writer.write(b"".join(data))
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer

    async def __call__(
        self, method, path, document=None, *, body=None, query=VERSION, auth=None, host="hub.leafgate.test", headers=()
    ):
        """The answer to one request; `body` is sent as it is."""
        content = body if body is not None else b"" if document is None else json.dumps(document).encode()
        auth = self.token() if auth is None else auth
        lines = [
            f"{method} {path}{'?' if query else ''}{query} HTTP/1.1",
            f"Host: {host}",
            "Connection: close",
            f"Content-Length: {len(content)}",
            *([f"Authorization: {auth}"] if auth else []),
            *(f"{name}: {value}" for name, value in headers),
        ]
        answer = await self.raw("\r\n".join([*lines, "", ""]).encode(), content)
        head, _, content = answer.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return Answer(int(status.split()[1]), found, json.loads(content) if content else None)
