"""Python's ssl module, which is the OpenSSL that this Python was built with."""

from __future__ import annotations

import socket
import ssl
import time

from leafsim import tls
from leafsim.address import with_port
from leafsim.errors import LeafError
from leafsim.explain import explain
from leafsim.stacks.base import Stack, Target, Verdict, verdict_of


class PythonStack(Stack):
    """The standard library's ssl, with a bare verifying context."""

    name = "python"

    def version(self) -> str:
        """Return the OpenSSL in use."""
        return ssl.OPENSSL_VERSION

    def attempt(self, target: Target, timeout: float) -> Verdict:
        """Make a handshake as any Python program would."""
        try:
            with handshake(target, timeout) as connection:
                return self.judge(connection, target)
        except LeafError as error:
            return verdict_of(error)

    def judge(self, connection: ssl.SSLSocket, target: Target) -> Verdict:
        """Judge a completed handshake."""
        return Verdict(True)


def handshake(target: Target, timeout: float) -> ssl.SSLSocket:
    """Return a connection with a completed, verified handshake; LeafError when there is none."""
    context = tls.client_context(target.trust)
    tls.watch(context, time.monotonic() + timeout)
    where = with_port(target.host, target.port)
    try:
        plain = socket.create_connection((target.host, target.port), timeout)
    except (OSError, ValueError) as error:
        raise explain(error, "tcp", where, timeout) from error
    try:
        # A handshake of its own, since wrapping with do_handshake_on_connect leaks the socket when it fails.
        connection = context.wrap_socket(plain, server_hostname=target.name, do_handshake_on_connect=False)
        connection.do_handshake()
    except (OSError, ValueError) as error:
        plain.close()
        raise explain(error, "tls", where, timeout) from error
    return connection
