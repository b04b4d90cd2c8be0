"""One handshake of Mbed TLS through python-mbedtls: mbedtls_probe.py HOST PORT NAME PEM.

A process of its own, which somebody ends: `do_handshake` spins for ever when the server has gone.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path


def main(host: str, port: str, name: str, trust: str) -> None:
    """Make the handshake and print what came of it."""
    from mbedtls import tls, x509  # noqa: PLC0415 - an optional extra

    store = tls.TrustStore()
    pem = Path(trust).read_text("utf-8") if trust else ""
    for part in pem.split("-----END CERTIFICATE-----")[:-1]:
        store.add(x509.CRT.from_PEM(part[part.index("-----BEGIN") :] + "-----END CERTIFICATE-----\n"))
    context = tls.ClientContext(tls.TLSConfiguration(trust_store=store, validate_certificates=True))
    try:
        connection = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=name)
        connection.do_handshake()
    except Exception as refused:  # noqa: BLE001 - whatever it is, it is the answer
        sys.stdout.write(json.dumps({"ok": False, "message": f"{type(refused).__name__}: {refused}"}))
    else:
        sys.stdout.write(json.dumps({"ok": True}))


if __name__ == "__main__":
    main(*sys.argv[1:])
