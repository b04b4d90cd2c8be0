"""Checks of the device CA's file that the product does not make: what it means for the chain that leaves will see."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from certs.diagnose import problems
from certs.findings import cn
from certs.names import common_name, first_equal
from certs.path import find
from certs.rules.authority import no_authority
from certs.x509io import extension
from scenarios.check.model import Fact, Finding, Looked, NotApplicable, Skip, check, error, told, warning
from scenarios.check.subject import EDGE_CA, TRUST_BUNDLE, Subject

_SHOWN = 20  # names of certificates in additional_info


@check("device-ca-may-sign", "device CA may sign Edge Hub's certificate")
def device_ca_may_sign(subject: Subject) -> Looked:
    """The device CA says CA:TRUE and keyCertSign, and up to 1.1 leaves room for a workload CA below itself."""
    device_ca = subject.readable(EDGE_CA)[0]
    wrong = no_authority(device_ca)
    if wrong is not None:
        yield Finding.of(wrong)
        return
    constraints = extension(device_ca, x509.BasicConstraints)
    limit = constraints.path_length if constraints else None
    yield Fact("path_length", limit)
    if subject.configuration.workload_ca and limit == 0:
        yield error(
            f"{cn(device_ca)} allows no authority below itself, and the daemon of 1.1 makes a workload CA there\n"
            "make it again with a path length of 1 or more, or none"
        )


@check("device-ca-common-name", "device CA's common name is no name of the gateway (CN loop)")
def device_ca_common_name(subject: Subject) -> Looked:
    """The rule of the IoT Edge documentation; whether it fails depends on the rest: edge-hub-cn-loop."""
    device_ca = subject.readable(EDGE_CA)[0]
    used = [name for name in (subject.configuration.hostname, subject.name) if name]
    yield Fact("common_name", cn(device_ca))
    if first_equal(cn(device_ca), used):
        yield warning(
            f"{cn(device_ca)} is the device CA's common name and a name of the gateway, which IoT Edge's documentation "
            "forbids: verification can loop between the two\n"
            "give the device CA another name, as the convenience scripts do by appending .ca"
        )


@check("device-ca-full-chain", "device CA file holds the full chain")
def device_ca_full_chain(subject: Subject) -> Looked:
    """Every issuer from the device CA to the root, or to what leaves trust, is in the file, in order."""
    certificates, bundle = subject.readable(EDGE_CA), _bundle(subject)
    yield Fact("certificates", [cn(one) for one in certificates[:_SHOWN]])
    missing = _only_device_ca(certificates, bundle)
    if missing is not None:
        known = "neither in it nor in the trust bundle" if bundle else "not in it"
        yield (error if bundle else warning)(
            f'the device CA file holds no more than {cn(certificates[0])}; its issuer "{common_name(missing)}" is '
            f"{known}\nput the full chain into the file, from the device CA up to the root"
        )
        return
    yield from told(problems(certificates, trust=bundle, now=subject.now), "C")


@check("trust-bundle-root", "trust bundle holds the root of the device CA")
def trust_bundle_root(subject: Subject) -> Looked:
    """What is configured as trust bundle is what the device CA goes back to."""
    certificates, bundle = subject.readable(EDGE_CA), subject.readable(TRUST_BUNDLE)
    yield Fact("trust_bundle", [cn(one) for one in bundle[:_SHOWN]])
    if _only_device_ca(certificates, bundle) is not None:
        raise Skip("the device CA file does not reach a root, see device-ca-full-chain")
    yield from told(problems(certificates, trust=bundle, now=subject.now), "T")


def _bundle(subject: Subject) -> tuple[x509.Certificate, ...] | None:
    """The configured trust bundle's certificates, None when it cannot be had."""
    try:
        return subject.readable(TRUST_BUNDLE)
    except (Skip, NotApplicable):
        return None


def _only_device_ca(
    certificates: Sequence[x509.Certificate], bundle: Sequence[x509.Certificate] | None
) -> x509.Name | None:
    """The issuer that is missing right above the device CA, which is what the file begins with whatever its name."""
    way = find(certificates, bundle or ())
    return way.missing if len(way.steps) == 1 else None
