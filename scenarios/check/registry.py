"""All checks, in the order in which they are made and told; ids and order are the product's where it has the check."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from scenarios.check import configuration, connectivity, device_ca, files, leaves, served
from scenarios.check.model import Check, Outcome, Status
from scenarios.check.subject import Subject
from scenarios.errors import ScenariosError
from scenarios.fields import suggestion


class Section(NamedTuple):
    """A group of checks under a heading."""

    title: str
    checks: tuple[Check, ...]


SECTIONS = (
    Section(
        "Configuration checks",
        (
            configuration.hostname,
            configuration.parent_hostname,
            files.identity_certificate_expiry,
            files.certs_preloaded,
            files.certs_read,
            files.key_pairs_read,
            files.certs_match_private_keys,
            files.certificates_quickstart,
            device_ca.device_ca_may_sign,
            device_ca.device_ca_common_name,
            device_ca.device_ca_full_chain,
            device_ca.trust_bundle_root,
        ),
    ),
    Section(
        "Connectivity checks",
        (*connectivity.HOST_CONNECT, connectivity.port_mqtt, connectivity.port_https, connectivity.port_amqp),
    ),
    Section(
        "Leaf device checks",
        (
            served.host_local_time,
            served.tls_handshake,
            served.server_certificate_expiry,
            served.server_certificate_names,
            served.chain_complete,
            served.chain_expiry,
            served.chain_authorities,
            served.cn_loop,
            served.trust,
            served.tls_stacks,
            served.serves_device_ca,
            leaves.leaf_parent,
        ),
    ),
)


def checks() -> Iterator[Check]:
    """Every check, in order."""
    return (check for section in SECTIONS for check in section.checks)


def known(identities: Collection[str]) -> None:
    """Raise ScenariosError when one is no check's id."""
    ids = [check.id for check in checks()]
    for identity in identities:
        if identity not in ids:
            raise ScenariosError(f"there is no check {identity!r}", suggestion(identity, ids))


def run(subject: Subject, *, dont_run: Collection[str] = ()) -> Iterator[tuple[Section, Iterator[Outcome]]]:
    """Make the checks, one after the other, as they are asked for."""
    for section in SECTIONS:
        yield section, (_unwanted(check) if check.id in dont_run else check.run(subject) for check in section.checks)


def _unwanted(check: Check) -> Outcome:
    return Outcome(check, Status.IGNORED, reason="left out with --dont-run")
