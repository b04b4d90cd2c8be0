"""A bare TLS server for one chain, which shakes hands and says nothing: what the measured chains were served with."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from certs import Chain
from certs.files import write_new
from scenarios.errors import ScenariosError

_VERSIONS = {"TLSv1": ssl.TLSVersion.TLSv1, "TLSv1_2": ssl.TLSVersion.TLSv1_2, "TLSv1_3": ssl.TLSVersion.TLSv1_3}
_PATIENCE = 5.0  # seconds that one client may take


@contextmanager
def serving(chain: Chain, settings: Mapping[str, Any] | None = None) -> Iterator[tuple[int, Path]]:
    """Serve a chain on loopback; yields the port, and a PEM file with what leaves should trust.

    `settings` are those of a row of the measured table: min, max, ciphers, mtls, plain, sec0.
    """
    with tempfile.TemporaryDirectory(prefix="leafgate-") as folder:
        context = None if (settings or {}).get("plain") else _context(chain, settings or {}, Path(folder))
        trust = write_new(Path(folder) / "trust.pem", chain.trust_pem)
        with _Server(context) as server:
            yield server.port, trust


def _context(chain: Chain, settings: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    served = write_new(folder / "served.pem", chain.sent_pem + chain.key_pem, private=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Weak keys and hashes are for the client to judge.
    usual = "ALL:@SECLEVEL=0" if settings.get("sec0") else "DEFAULT:@SECLEVEL=0"
    context.set_ciphers(settings.get("ciphers", usual))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 is asked for
        context.minimum_version = _VERSIONS.get(settings.get("min", ""), ssl.TLSVersion.TLSv1_2)
        context.maximum_version = _VERSIONS.get(settings.get("max", ""), ssl.TLSVersion.TLSv1_3)
    if settings.get("mtls"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=chain.trust_pem.decode())
    try:
        context.load_cert_chain(served)
    except ssl.SSLError as wrong:
        hint = "compare certificate and key"
        raise ScenariosError(f"no server starts with this chain: {wrong.reason}", hint) from None
    return context


class _Server:
    """Takes connections one after the other; one thread, which ends with the context."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="leafgate-matrix", daemon=True)

    def __enter__(self) -> _Server:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain, suppress(OSError, ValueError):
                plain.settimeout(_PATIENCE)
                self._greet(plain)

    def _greet(self, plain: socket.socket) -> None:
        if self._context is None:
            plain.recv(1 << 16)  # a plain-text MQTT broker hangs up on what is no CONNECT
            return
        with self._context.wrap_socket(plain, server_side=True) as connection:
            connection.recv(1)
