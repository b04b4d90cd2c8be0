"""paho-mqtt through its own TLS path, as devices built on it (the Azure SDK for Python among them) connect."""

from __future__ import annotations

import ssl
import time
from importlib.metadata import version
from typing import Any

from leafsim import tls
from leafsim.address import with_port
from leafsim.client import Client
from leafsim.errors import LeafError
from leafsim.explain import explain
from leafsim.routes import Routes
from leafsim.stacks.base import Stack, Target, Verdict, verdict_of


class _HandshakeDone(Exception):
    """Thrown out of paho after its handshake, so that no CONNECT follows."""


class PahoStack(Stack):
    """paho's client up to the end of the TLS handshake."""

    name = "paho"

    def version(self) -> str:
        """Return paho's version and the OpenSSL below it."""
        return f"paho-mqtt {version('paho-mqtt')}, {ssl.OPENSSL_VERSION}"

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Let paho connect to the name, with TCP going to the target's host."""
        client = Client(Routes({(target.name, target.port): (target.host, target.port)}), client_id="probe")
        try:
            context = tls.client_context(target.trust)
        except LeafError as error:
            return verdict_of(error)
        tls.watch(context, time.monotonic() + timeout)
        client.tls_set_context(context)
        client.connect_timeout = timeout
        client.on_socket_open = _stop
        try:
            client.connect(target.name, target.port)
        except _HandshakeDone:
            return Verdict(True)
        except (OSError, ValueError) as error:
            return verdict_of(explain(error, client.phase, with_port(target.host, target.port), timeout))
        raise AssertionError("paho connected without telling that its socket is open")


def _stop(_client: Any, _userdata: Any, connection: Any) -> None:
    connection.close()
    raise _HandshakeDone
