"""TLS without a socket: encrypted bytes in, plain bytes out, and back.

Rule: nothing outside this module knows which TLS library does the work. The seam is `TlsSession`: receive, send,
outgoing, close.

pyOpenSSL over memory BIOs, because the standard library cannot accept any client certificate (the product requests
one, completes the handshake whatever it is and judges it at CONNECT) and asyncio's own TLS drops the fatal alert.
Sessions are never resumed: a resumed session no longer has the client's chain.

What happens per message goes past pyOpenSSL's wrappers, which cost more than OpenSSL does: it uses the bindings below
them (`lib`, `ffi`) and three private names of SSL.Connection, which tests/gateway/broker/test_pyopenssl_contract.py
holds.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from gateway.errors import CertificateError, GatewayError

logger = logging.getLogger("leafgate.tls")

_VERSIONS = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}
_READ_SIZE = 16_384  # one TLS record
_SSL_MODE_RELEASE_BUFFERS = 0x10  # an idle connection gives its 32 KiB of buffers back

#: alerts by their numbers in RFC 8446 section 6 (and 41, 60, 100 of TLS 1.2)
_ALERTS = {
    10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
    41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
    45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca",
    49: "access_denied", 50: "decode_error", 51: "decrypt_error", 60: "export_restriction", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_cancelled",
    100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip
#: the same by the phrase that ends OpenSSL's reason ("ssl/tls alert bad certificate")
_ALERT_PHRASES = {name.replace("_", " "): name for name in _ALERTS.values()}
#: what OpenSSL sends for objections that come up once the handshake is encrypted, when the alert cannot be read
_OBJECTIONS = {
    "decryption failed or bad record mac": "bad_record_mac",
    "bad signature": "decrypt_error",
    "digest check failed": "decrypt_error",
    "unexpected message": "unexpected_message",
    "length mismatch": "decode_error",
}


class PeerClosedError(Exception):
    """The peer ended the TLS session in good order."""


class TlsFailedError(Exception):
    """The TLS session broke. `alert` names the fatal alert if there was one, `sent_by` is "client" or "gateway".

    `farewell` is what still has to go out on the wire: the gateway's alert.
    """

    def __init__(self, reason: str, alert: str | None, sent_by: str | None, farewell: bytes = b"") -> None:
        self.reason = reason
        self.alert = alert
        self.sent_by = sent_by
        self.farewell = farewell
        super().__init__(reason)


class TlsSession(Protocol):
    """One connection's TLS; `ending` is how it ended, if it did so right behind what `receive` last returned."""

    established: bool
    ending: PeerClosedError | TlsFailedError | None

    def receive(self, data: bytes | memoryview) -> bytes:
        """Take bytes off the wire; returns what they decrypt to, empty while the handshake lasts.

        Raises PeerClosedError or TlsFailedError.
        """

    def send(self, data: bytes) -> None:
        """Encrypt `data`."""

    def outgoing(self) -> bytes:
        """What has to go out on the wire now."""

    def close(self) -> None:
        """Say close_notify."""


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What the handshake told about the peer; `certificates` are as sent (DER), its own first, however odd they are."""

    version: str
    server_name: str | None
    certificates: tuple[bytes, ...]


class TlsContext:
    """The chain, the key and the versions that new connections are served with."""

    def __init__(self, certificates: Sequence[x509.Certificate], key_pem: bytes, versions: Sequence[str]) -> None:
        if not certificates:
            raise CertificateError("the chain is empty: there is no server certificate to send")
        if not set(versions) <= _VERSIONS.keys():
            raise GatewayError(f"{', '.join(versions)} are no TLS versions", f"choose from {', '.join(_VERSIONS)}")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        ordered = sorted(versions)
        context.set_min_proto_version(_VERSIONS[ordered[0]])
        context.set_max_proto_version(_VERSIONS[ordered[-1]])
        # Weak keys and hashes are part of what an emulator serves; whether to accept them is the client's decision.
        context.set_cipher_list(b"ALL:@SECLEVEL=0" if ordered[0] < "1.2" else b"DEFAULT:@SECLEVEL=0")
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(_SSL_MODE_RELEASE_BUFFERS)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self._load(context, certificates, key_pem)
        self._context = context
        # Consumed before the next record is decrypted, so all connections share it; not the whole process: gateways
        # may run in several threads, and OpenSSL works without the interpreter's lock.
        self._buffer = ffi.new("char[]", _READ_SIZE)

    def session(self) -> OpenSslSession:
        """TLS for one new connection."""
        return OpenSslSession(self._context, self._buffer)

    @staticmethod
    def _load(context: Any, certificates: Sequence[x509.Certificate], key_pem: bytes) -> None:
        try:
            key = load_pem_private_key(key_pem, password=None)
            context.use_certificate(certificates[0])
            context.use_privatekey(key)
            context.check_privatekey()
            for certificate in certificates[1:]:
                context.add_extra_chain_cert(certificate)
        except (SSL.Error, crypto.Error, ValueError, TypeError) as wrong:
            hint = "the first certificate must be the server's own, and the key must belong to it"
            raise CertificateError(f"the chain cannot be served: {_reason(wrong)}", hint) from None


class OpenSslSession:
    """TlsSession on pyOpenSSL."""

    __slots__ = ("_buffer", "_in", "_out", "_plain", "_raw", "_ssl", "ending", "established")

    def __init__(self, context: Any, buffer: Any) -> None:
        self._ssl = SSL.Connection(context)
        self._ssl.set_accept_state()
        self._raw, self._in, self._out = self._ssl._ssl, self._ssl._into_ssl, self._ssl._from_ssl
        self._buffer, self._plain = buffer, ffi.buffer(buffer)
        self.established = False
        self.ending: PeerClosedError | TlsFailedError | None = None

    def receive(self, data: bytes | memoryview) -> bytes:
        """Decrypt; see TlsSession."""
        lib.BIO_write(self._in, ffi.from_buffer(data), len(data))
        if not self.established and not self._handshake():
            return b""
        chunks = []
        while (count := lib.SSL_read(self._raw, self._buffer, _READ_SIZE)) > 0:
            chunks.append(self._plain[:count])
        if lib.SSL_get_error(self._raw, count) != lib.SSL_ERROR_WANT_READ:
            self.ending = self._how_it_ended(count)
            if not chunks:
                raise self.ending
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _handshake(self) -> bool:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.ZeroReturnError:
            raise PeerClosedError from None
        except SSL.Error as error:
            raise _failure(error, self.outgoing()) from None
        self.established = True
        return True

    def _how_it_ended(self, result: int) -> PeerClosedError | TlsFailedError:
        try:
            self._ssl._raise_ssl_error(self._raw, result)
        except SSL.ZeroReturnError:
            return PeerClosedError()
        except SSL.Error as error:
            return _failure(error, self.outgoing())
        return TlsFailedError("TLS error", None, None)

    def send(self, data: bytes) -> None:
        """Encrypt; see TlsSession. After a fatal alert OpenSSL takes nothing any more."""
        if isinstance(self.ending, TlsFailedError):
            return
        # A memory BIO takes everything, but OpenSSL stops after one record (16 KiB): pyOpenSSL allows partial writes.
        while (sent := lib.SSL_write(self._raw, data, len(data))) < len(data):
            if sent <= 0:
                self._ssl._raise_ssl_error(self._raw, sent)
            data = data[sent:]

    def outgoing(self) -> bytes:
        """What has to go out; see TlsSession."""
        size = lib.BIO_read(self._out, self._buffer, _READ_SIZE)
        if size <= 0:
            return b""
        data: bytes = self._plain[:size]
        return data if size < _READ_SIZE else data + self.outgoing()

    def close(self) -> None:
        """Say close_notify; after a failed handshake there is nobody to say it to."""
        if self.established:
            try:
                self._ssl.shutdown()
            except SSL.Error:
                logger.debug("close_notify could not be sent")

    def peer(self) -> PeerFacts:
        """What the handshake told; see PeerFacts."""
        ssl = self._ssl
        own = ssl.get_peer_certificate()
        # A server's OpenSSL leaves the client's own certificate out of the chain it reports.
        sent = () if own is None else (own, *(ssl.get_peer_cert_chain() or ()))
        certificates = tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in sent)
        return PeerFacts(ssl.get_protocol_version_name(), self.server_name(), certificates)

    def server_name(self) -> str | None:
        """The name the client asked for (SNI), as it was spelled."""
        name = self._ssl.get_servername()
        return name.decode("ascii", errors="replace") if name else None


def _failure(error: SSL.Error, farewell: bytes) -> TlsFailedError:
    reason = _reason(error)
    if " alert " in f" {reason}":
        return TlsFailedError(reason, _ALERT_PHRASES.get(reason.rpartition("alert ")[2]), "client", farewell)
    alert = _sent_alert(reason, farewell)
    return TlsFailedError(reason, alert, "gateway" if alert else None, farewell)


def _sent_alert(reason: str, farewell: bytes) -> str | None:
    """The name of the alert at the end of what goes out: a record of type 21, version, length 2, level, number."""
    if farewell[-7:-5] == b"\x15\x03" and farewell[-4:-2] == b"\x00\x02":
        return _ALERTS.get(farewell[-1])
    return next((alert for objection, alert in _OBJECTIONS.items() if farewell and objection in reason), None)


def _reason(error: Exception) -> str:
    """OpenSSL's own words; an error queue is a list of (library, function, reason)."""
    queue = error.args[0] if error.args else ""
    if isinstance(queue, list) and queue:
        return "; ".join(str(entry[-1]) for entry in queue if entry[-1]) or "TLS error"
    return str(error) or type(error).__name__
