"""Names in the configuration."""

from __future__ import annotations

import pytest

from scenarios.check.configuration import hostname, is_rfc_1035, parent_hostname
from scenarios.check.model import Status
from scenarios.check.subject import Configured
from tests.scenarios.check.conftest import subject

LONG = ".".join(["a" * 30] * 3)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("gw.factory.test", Status.OK, ""),
        ("GW-1.Factory.Test", Status.OK, ""),
        ("192.168.1.20", Status.OK, ""),
        ("fe80::1", Status.OK, ""),
        ("edge_gateway", Status.WARNING, "hostname edge_gateway does not comply with RFC 1035"),
        ("2019edgehost", Status.WARNING, "does not comply with RFC 1035"),
        ("gw.factory.test.", Status.WARNING, "does not comply with RFC 1035"),
        ("gw-", Status.WARNING, "does not comply with RFC 1035"),
        (LONG, Status.WARNING, "too long to be used as a certificate issuer: 92 characters"),
        ("", Status.ERROR, "hostname is not set"),
    ],
)
def test_hostname_is_judged_as_the_product_judges_it(name: str, status: Status, words: str) -> None:
    """RFC 1035 with a letter in front, 64 characters for a common name, and an address is fine."""
    outcome = hostname.run(subject(Configured(hostname=name)))
    assert outcome.status is status
    assert words in "\n".join(outcome.details)
    assert outcome.facts == {"config_hostname": name}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        (None, Status.IGNORED, "no parent_hostname"),
        ("10.0.0.1", Status.OK, ""),
        ("parent.factory.test", Status.OK, ""),
        ("parent_gateway", Status.WARNING, "RFC 1035"),
        (LONG, Status.ERROR, "too long to be used as a certificate issuer"),
        ("GW.factory.test", Status.ERROR, "is this gateway's own hostname"),
    ],
)
def test_parent_hostname_is_judged_as_the_product_judges_it(name: str | None, status: Status, words: str) -> None:
    """Too long a parent's name is an error where the gateway's own is a warning; a gateway is not its own parent."""
    outcome = parent_hostname.run(subject(Configured(hostname="gw.factory.test", parent_hostname=name)))
    assert outcome.status is status
    assert words in "\n".join(outcome.details)


def test_host_name_of_the_greatest_lengths_complies() -> None:
    """63 characters a label and 255 in all, and not one more."""
    label = "a" * 63
    longest = ".".join([label, label, label, "a" * 63])
    assert is_rfc_1035(longest)
    assert not is_rfc_1035(f"{label}a")
    assert not is_rfc_1035(f"{longest}.a")


def test_configuration_checks_need_a_configuration() -> None:
    """Without one there is nothing to judge, which is no error."""
    assert hostname.run(subject("none")).status is Status.IGNORED
