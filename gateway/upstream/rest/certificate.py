"""The certificate of IoT Hub's own server: which root it hangs from, and its key.

Rule: it is issued by the gateway's root, so that one file is all that has to be trusted, if that root can do it: its
key is here, and OpenSSL takes a server that it has signed. If not (a customer's device CA, a chain that was imitated, a
root that is broken on purpose) the hub has a root of its own, as in the field, and that root is trusted by nobody but
whoever asks the hub: it is no part of root.pem. Which one it is does not change while the gateway lives.
The machine's clock decides here, because clients' TLS stacks go by it.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import Chain, Level, Role
from certs.elsewhere import can_sign
from certs.errors import CertsError
from certs.issuing import issue
from certs.names import is_ip
from certs.profiles import CertProfile, Ids
from certs.workshop import Workshop

_ROOT = CertProfile(
    Role.ROOT,
    "leafgate IoT Hub root",
    "ec",
    365,
    ca=True,
    ca_critical=True,
    path_length=0,
    key_usage=("key_cert_sign", "crl_sign"),
    ids=Ids.KEY_ID,
)
_SERVER = CertProfile(
    Role.SERVER,
    "{hub}",
    "ec",
    365,
    ca=False,
    key_usage=("digital_signature",),
    extended_key_usage=(ExtendedKeyUsageOID.SERVER_AUTH,),
    ids=Ids.KEY_ID,
)
_TICK = timedelta(seconds=1)  # see certs.workshop


@dataclass(frozen=True)
class HubCertificate:
    """The server's certificate and key, and the root to trust, in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    root: bytes
    own_root: bool

    def context(self) -> ssl.SSLContext:
        """What to serve TLS 1.2 and 1.3 with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # azure-iot-device and older services speak nothing newer
        with TemporaryDirectory(
            prefix="leafgate-"
        ) as folder:  # ssl reads keys from files alone; this one is ours, 0700
            path = Path(folder) / "hub.pem"
            path.touch(mode=0o600)
            path.write_bytes(self.key + self.certificate)
            context.load_cert_chain(path)
        return context


def hub_certificate(chain: Chain, hostname: str, bind: str) -> HubCertificate:
    """A certificate for the hub's name, localhost, 127.0.0.1, the gateway's name and the address that it listens on."""
    names = dict.fromkeys((hostname, "localhost", "127.0.0.1", chain.hostname.lower(), bind))
    san = tuple(name for name in names if name.isascii() and not (is_ip(name) and ip_address(name).is_unspecified))
    workshop, now = Workshop(), datetime.now(UTC).replace(microsecond=0) - _TICK
    if can_sign(chain.root.key) and chain.root.certificate in chain.trust:
        with suppress(CertsError, ValueError):  # its key may be in a token that is gone
            below = _issued(workshop, now, chain.root, san, own_root=False)
            if _is_good(below, hostname):
                return below
    key = workshop.key(_ROOT.key, "hub-root")
    serial = workshop.serial("hub-root")
    root = issue(_ROOT, values={}, key=key, serial=serial, now=now, issuer=None)
    return _issued(workshop, now, root, san, own_root=True)


def _issued(
    workshop: Workshop, now: datetime, root: Level, names: tuple[str, ...], *, own_root: bool
) -> HubCertificate:
    server = issue(
        replace(_SERVER, san=names),
        values={"hub": names[0]},
        key=workshop.key(_SERVER.key, "hub"),
        serial=workshop.serial("hub"),
        now=now,
        issuer=root,
    )
    key = server.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return HubCertificate(server.pem, key, root.pem, own_root)


def _is_good(made: HubCertificate, hostname: str) -> bool:
    """Whether a client that trusts the root alone completes a handshake."""
    trusting = ssl.create_default_context(cadata=made.root.decode())
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 and later insist on
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=hostname)
    server = made.context().wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return False
    return client.version() is not None
