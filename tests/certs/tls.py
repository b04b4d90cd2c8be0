"""A real TLS handshake in memory, and what each side says of it."""

import ssl
from dataclasses import dataclass

from certs import Chain


@dataclass(frozen=True)
class Verdict:
    """What OpenSSL answered: verify code and message, None and "" when it accepted; and the alert the server got."""

    code: int | None
    message: str
    alert: str | None


ACCEPTED = Verdict(None, "", None)


def judge(chain: Chain, tmp_path, *, name=None, trust: bytes | None = None) -> Verdict:
    """Let a client that trusts `trust` (the chain's root) connect as `name` (its host name) over TLS 1.2."""
    served = tmp_path / "served.pem"
    served.write_bytes(chain.sent_pem + chain.key_pem)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.set_ciphers("ALL:@SECLEVEL=0")  # short keys and SHA-1 are for the client to judge
    server_context.load_cert_chain(served)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2  # the alert reaches the server inside the handshake
    client_context.load_verify_locations(cadata=(trust or chain.trust_pem).decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name or chain.hostname)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    return _run(client, server)


def _run(client, server) -> Verdict:
    code, message = None, ""
    for _ in range(10):
        try:
            _step(client)
        except ssl.SSLCertVerificationError as refused:
            code, message = refused.verify_code, refused.verify_message
        try:
            server_done = _step(server)
        except ssl.SSLError as broken:
            return Verdict(code, message, (broken.reason or "").partition("ALERT_")[2].lower())
        if server_done:
            return Verdict(code, message, None)
    raise AssertionError("the handshake does not end")


def _step(side) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
