"""What new connections are served with: a chain as it looks at the time that the gateway's clock shows.

Rule: TLS stacks live by the machine's clock, which nobody moves. Where time has been made to pass, certificates are
therefore issued once more with all dates moved back by that much: same keys, names and serial numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from certs import Chain
from gateway.broker.tls import TlsContext
from gateway.clock import Clock
from gateway.config import TlsVersion

#: Edge Hub spoke TLS 1.2 alone until 1.5 (appsettings_hub.json of the releases in Azure/iotedge)
_TLS_1_2_ONLY = frozenset({"1.0.3", "1.0.4", "1.1", "1.2", "1.3"})


class Serving:
    """Dates a chain and prepares it for TLS."""

    def __init__(self, versions: Sequence[TlsVersion], clock: Clock, log: logging.Logger) -> None:
        self._versions = versions
        self._clock = clock
        self._log = log
        self._passed = clock.passed()  # by when the chain below was dated
        self._chain: Chain | None = None
        self._aged: Chain | None = None

    @property
    def up_to_date(self) -> bool:
        """Whether no time has been made to pass since a chain was dated."""
        return self._passed == self._clock.passed()

    def aged(self, chain: Chain) -> Chain:
        """The chain as the machine's clock has to see it. Raises CertsError for one that cannot be dated anew."""
        if self._aged is None or self._chain is not chain or not self.up_to_date:
            passed = self._clock.passed()
            aged = chain.shifted(-passed) if passed else chain
            self._passed, self._chain, self._aged = passed, chain, aged
        return self._aged

    def load(self, chain: Chain) -> TlsContext:
        """The same for TLS, and told in the log. Raises CertificateError or CertsError."""
        context = self.context(chain)
        expires = chain.sent[0].not_valid_after_utc.isoformat()
        self._log.info("Loaded server certificate with expiration date of %s", expires)
        return context

    def context(self, chain: Chain) -> TlsContext:
        """The same, and not told."""
        aged = self.aged(chain)
        return TlsContext(aged.sent, aged.key_pem, self._versions)


def versions_of(generation: str) -> tuple[TlsVersion, ...]:
    """The TLS versions that a generation of the product offers."""
    return ("1.2",) if generation in _TLS_1_2_ONLY else ("1.2", "1.3")
