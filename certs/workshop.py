"""What issuing needs besides a template: keys, serial numbers and the time, random or following from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509

from certs.keys import FreshKeys, KeySource, PrivateKey, SeededKeys, digest

#: OpenSSL asks time(), whose second begins some milliseconds after the precise clock's: without this a certificate is
#: "not yet valid" to whoever looks at it at once, a few times in a thousand
_TICK = timedelta(seconds=1)


@dataclass(frozen=True)
class Workshop:
    """Keys, serial numbers and issue time. With a seed all follow from it and from the purpose alone."""

    keys: KeySource = field(default_factory=FreshKeys)
    seed: int | None = None
    fixed_now: datetime | None = None

    @classmethod
    def of(cls, *, keys: KeySource | None, seed: int | None, now: datetime | None) -> Workshop:
        """Choose the key source: the given one, else the seed's, else fresh keys."""
        if keys is None:
            keys = FreshKeys() if seed is None else SeededKeys(seed)
        return cls(keys, seed, now)

    def now(self) -> datetime:
        """Return the issue time in whole seconds.

        With a seed and no fixed time it is the last midnight (UTC): the same bytes all day, valid now, and the
        lifetimes stay the product's.
        """
        if self.fixed_now is not None:
            return self.fixed_now.astimezone(UTC).replace(microsecond=0)
        now = datetime.now(UTC).replace(microsecond=0) - _TICK
        return now if self.seed is None else now.replace(hour=0, minute=0, second=0)

    def key(self, kind: str, purpose: str) -> PrivateKey:
        """Return a key of that kind for that purpose."""
        return self.keys.key(kind, purpose)

    def serial(self, purpose: str) -> int:
        """Return a positive serial number of at most 159 bits (RFC 5280, 4.1.2.2)."""
        if self.seed is None:
            return x509.random_serial_number()
        return 1 + digest(self.seed, f"serial:{purpose}") % ((1 << 158) - 1)
