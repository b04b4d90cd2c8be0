"""Issues a whole hierarchy, from the root to the Edge Hub server certificate, as one product generation made it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from cryptography import x509

from certs import names
from certs.chain import Chain, Level, Role
from certs.errors import CertsError, DeviceCaNameError, NameRefusedError
from certs.issuing import issue
from certs.keys import KINDS, KeySource
from certs.profiles import MODULE_IDENTITY, SCRIPT_FIRST_SERIAL, CertProfile, Serial
from certs.profiles import generation as find_generation
from certs.workshop import Workshop

_OWNED_BY_USER = (Role.ROOT, Role.INTERMEDIATE, Role.DEVICE_CA)


class Authority:
    """A certificate authority and the gateway below it.

    `intermediates` is how many, or their names from the top down. A name given for root, intermediates or device CA
    is a common name ("Contoso Plant 2") or a whole subject ("CN=Plant 2,O=Contoso,C=DE").
    `key` overrides what the era used; `days` is how long the user's own authorities live; `now` fixes the issue time;
    `seed` makes everything but RSA keys repeat.
    """

    def __init__(
        self,
        *,
        hostname: str = "localhost",
        generation: str = "documented",
        device_ca_cn: str | None = None,
        root_cn: str | None = None,
        intermediates: int | Sequence[str] = 1,
        key: str | None = None,
        ip_san: Sequence[str] = (),
        client_names: Sequence[str] = (),
        allow_cn_loop: bool = False,
        days: int | None = None,
        device_id: str | None = None,
        hub_hostname: str = "hub.leafgate.test",
        now: datetime | None = None,
        seed: int | None = None,
        keys: KeySource | None = None,
    ) -> None:
        self.generation = find_generation(generation)
        self.hostname = names.check_hostname(hostname)
        self.workshop = Workshop.of(keys=keys, seed=seed, now=now)
        self._now = self.workshop.now()
        self._key = _checked_kind(key) or self.generation.default_key
        self._days = _checked_days(days)
        self._ip_san = tuple(_checked_ip(address) for address in ip_san)
        self._root_cn = root_cn
        self._intermediates = intermediates
        self._device_ca_cn = device_ca_cn
        self._values = {
            "host": self.generation.written_name(self.hostname),
            "device": device_id or self.hostname,
            "device_ca": f"{self.hostname}.ca",
            "hub": hub_hostname,
        }
        if not allow_cn_loop:
            self._check_device_ca((self.hostname, *client_names))

    def chain(self) -> Chain:
        """Return the gateway's hierarchy; always the same one."""
        return self._chain

    def device(self, device_id: str, *, signed_by: Role | None = None) -> Level:
        """Issue a leaf device's identity certificate, signed by the last intermediate, or by that authority."""
        return self._identity(Role.DEVICE, device_id, None if signed_by is None else self._chain.level(signed_by))

    def edge_identity(self, device_id: str) -> Level:
        """Issue the Edge device's own identity certificate, signed by the last intermediate."""
        return self._identity(Role.EDGE_IDENTITY, device_id)

    def verification(self, code: str) -> Level:
        """Issue the certificate that proves possession of the root's key to IoT Hub, signed by the root."""
        return self._identity(Role.VERIFICATION, code, self._chain.root)

    def module(self, module_id: str) -> Level:
        """Issue a module's identity certificate, signed by what signs the server certificate, as the daemon does."""
        return self._issue(MODULE_IDENTITY, f"leaf:module:{module_id}", self._chain.levels[1], identity=module_id)

    def _identity(self, role: Role, name: str, issuer: Level | None = None) -> Level:
        signer = issuer or next(
            (level for level in self._chain.levels if level.role in (Role.INTERMEDIATE, Role.ROOT)), self._chain.root
        )
        return self._issue(self.generation.identity, f"leaf:{role}:{name}", signer, identity=name, role=role)

    @cached_property
    def _chain(self) -> Chain:
        levels: list[Level] = []
        for purpose, profile, subject in self._plan():
            above = levels[-1] if levels else None
            levels.append(self._issue(profile, purpose, above, position=len(levels), subject=subject))
        levels.reverse()
        sent = [level.certificate for level in levels]
        if not self.generation.sends_root:
            sent.pop()  # .NET leaves a self-signed last element out
        trust = (levels[-1].certificate,)
        return Chain(self.hostname, self.generation.name, tuple(levels), tuple(sent), trust, self.workshop)

    def _plan(self) -> list[tuple[str, CertProfile, x509.Name | None]]:
        """Return what to issue, root first: the purpose its key is asked for, the profile, the user's own subject."""
        row = self.generation
        found: list[tuple[str, CertProfile, x509.Name | None]] = []
        if row.root:
            found.append(("root", row.root, _own_subject(self._root_cn)))
        if row.intermediate:
            found += self._plan_intermediates(row.intermediate)
        if row.device_ca:
            found.append(("device-ca", row.device_ca, _own_subject(self._device_ca_cn)))
        if row.workload_ca:
            found.append(("workload-ca", row.workload_ca, None))
        return [*found, ("server", row.server, None)]

    def _plan_intermediates(self, profile: CertProfile) -> list[tuple[str, CertProfile, x509.Name | None]]:
        wanted = self._intermediates
        if isinstance(wanted, int):
            if wanted < 0:
                raise CertsError(
                    f"{wanted} intermediates cannot be made", "0 or more, or their names from the top down"
                )
            wanted = [profile.subject if at == 1 else f"{profile.subject} {at}" for at in range(1, wanted + 1)]
        elif isinstance(wanted, str):
            wanted = [wanted]
        return [(f"intermediate-{at}", profile, names.parse(text)) for at, text in enumerate(wanted, 1)]

    def _issue(
        self,
        profile: CertProfile,
        purpose: str,
        issuer: Level | None,
        *,
        position: int = 0,
        subject: x509.Name | None = None,
        identity: str = "",
        role: Role | None = None,
    ) -> Level:
        """Issue one certificate of a profile below `issuer`, or self-signed when there is none."""
        return issue(
            profile,
            values={**self._values, "id": identity},
            key=self.workshop.key(self._key or profile.key, purpose),
            serial=self._serial(profile.serial, purpose, position),
            now=self._now,
            issuer=issuer,
            subject=subject,
            ip_san=self._ip_san,
            days=self._days if profile.role in _OWNED_BY_USER else None,
            role=role,
        )

    def _serial(self, rule: Serial, purpose: str, position: int) -> int:
        if rule is Serial.ZERO:
            return 0
        return SCRIPT_FIRST_SERIAL + position - 1 if rule is Serial.COUNTER else self.workshop.serial(purpose)

    def _check_device_ca(self, used_names: Sequence[str]) -> None:
        """Hold the rule of the IoT Edge documentation: no name that leaves use may be the device CA's common name."""
        profile = self.generation.device_ca
        if profile is None:
            if self._device_ca_cn is not None:
                raise NameRefusedError(
                    self._device_ca_cn,
                    f"generation {self.generation.name} has no device CA",
                    "leave the device CA's name out, or choose another generation",
                )
            return
        own = _own_subject(self._device_ca_cn)
        name = names.common_name(own) if own else profile.subject.format_map(self._values)
        if clash := names.first_equal(name, used_names):
            raise DeviceCaNameError(name, clash)


def _own_subject(text: str | None) -> x509.Name | None:
    return None if text is None else names.parse(text)


def _checked_kind(key: str | None) -> str | None:
    if key is None or key in KINDS:
        return key
    raise CertsError(f"key {key!r} does not exist", f"one of {', '.join(KINDS)}")


def _checked_days(days: int | None) -> int | None:
    if days is None or 0 < days <= 36500:
        return days
    raise CertsError(f"{days} days is no lifetime", "a number of days from 1 to 36500")


def _checked_ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise NameRefusedError(text, "it is not an IP address", "write 192.168.1.20 or fe80::1") from None
