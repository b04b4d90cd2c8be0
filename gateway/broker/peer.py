"""The certificate that a client showed in the handshake, read for the hub."""

from __future__ import annotations

import math

from cryptography.x509 import InvalidVersion

from certs import load_certificate
from gateway.broker.tls import PeerFacts
from gateway.hub.connect import ClientCertificate


def client_certificate(facts: PeerFacts) -> ClientCertificate | None:
    """The client's own certificate; None when it showed none."""
    if not facts.certificates:
        return None
    own = facts.certificates[0]
    try:
        read = load_certificate(own)
        return ClientCertificate(own, read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp())
    except (ValueError, InvalidVersion):
        # OpenSSL completes the handshake with certificates that break X.509; such a one is never within its time.
        return ClientCertificate(own, math.inf, -math.inf)
