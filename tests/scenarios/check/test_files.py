"""The files that a configuration names, right and wrong in every way that was thought of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs import Role, SeededKeys
from certs.keys import key_pem
from scenarios.check import pemfiles
from scenarios.check.model import Status
from scenarios.check.subject import EDGE_CA, Preloaded
from tests.scenarios.check.conftest import Files, findings, outcomes, subject

DAY = timedelta(days=1)


def test_healthy_configuration_has_no_finding(files: Files) -> None:
    """Every configuration check is OK, or has nothing to look at."""
    found = outcomes(subject(files.configured(), trust=files.bundle))
    assert {one.status for one in found.values()} <= {Status.OK, Status.IGNORED, Status.SKIPPED}
    ok = [name for name, one in found.items() if one.status is Status.OK]
    assert ok == [
        "hostname",
        "identity-certificate-expiry",
        "certs-preloaded",
        "certs-read",
        "key-pairs-read",
        "certs-match-private-keys",
        "device-ca-may-sign",
        "device-ca-common-name",
        "device-ca-full-chain",
        "trust-bundle-root",
    ]


def _swap(files: Files) -> None:
    cert, key = files.device_ca.read_bytes(), files.device_ca_key.read_bytes()
    files.device_ca.write_bytes(key)
    files.device_ca_key.write_bytes(cert)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


Spoil = Callable[[Files], object]
#: what is done to a file -> the check that errs, and its words
SPOILT: dict[str, tuple[Spoil, str, str]] = {
    "missing": (lambda f: f.device_ca.unlink(), "certs-read", "it does not exist"),
    "empty": (lambda f: f.device_ca.write_bytes(b""), "certs-read", "it is empty"),
    "der": (
        lambda f: f.device_ca.write_bytes(f.chain.level(Role.DEVICE_CA).certificate.public_bytes(Encoding.DER)),
        "certs-read",
        "it is DER",
    ),
    "noise": (lambda f: f.device_ca.write_bytes(bytes(range(256))), "certs-read", "no certificate in it"),
    "damaged": (
        lambda f: f.device_ca.write_bytes(f.device_ca.read_bytes().replace(b"MII", b"MIX", 1)),
        "certs-read",
        "a certificate in it is damaged",
    ),
    "key instead": (lambda f: f.device_ca.write_bytes(f.device_ca_key.read_bytes()), "certs-read", "a private key"),
    "request": (
        lambda f: f.device_ca.write_bytes(b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n"),
        "certs-read",
        "a certificate request",
    ),
    "pipe": (lambda f: _fifo(f.device_ca), "certs-read", "it is no file"),
    "directory": (lambda f: _directory(f.device_ca), "certs-read", "it is no file"),
    "too large": (lambda f: os.truncate(f.device_ca, 1 << 30), "certs-read", "too many for certificates"),
    "101 certificates": (
        lambda f: f.device_ca.write_bytes(f.device_ca.read_bytes() + f.chain.root.pem * 98),
        "certs-read",
        "holds 101 certificates",
    ),
    "key missing": (lambda f: f.device_ca_key.unlink(), "key-pairs-read", "it does not exist"),
    "key encrypted": (
        lambda f: f.device_ca_key.write_bytes(key_pem(f.chain.level(Role.DEVICE_CA).key, b"secret word")),
        "key-pairs-read",
        "the key in it is encrypted",
    ),
    "key damaged": (
        lambda f: f.device_ca_key.write_bytes(f.device_ca_key.read_bytes().replace(b"\nM", b"\nX", 1)),
        "key-pairs-read",
        "damaged or of a kind",
    ),
    "key is a pipe": (lambda f: _fifo(f.device_ca_key), "key-pairs-read", "it is no file"),
    "certificate for key": (
        lambda f: f.device_ca_key.write_bytes(f.bundle.read_bytes()),
        "key-pairs-read",
        "a certificate and no private key",
    ),
    "another key": (
        lambda f: f.device_ca_key.write_bytes(key_pem(SeededKeys(9).key("ec", "other"))),
        "certs-match-private-keys",
        "does not match",
    ),
    "key of the root": (
        lambda f: f.device_ca_key.write_bytes(f.chain.root.key_pem),
        "certs-match-private-keys",
        "it is the key of Azure IoT Hub CA Cert Test Only, which must come first",
    ),
    "bundle missing": (lambda f: f.bundle.unlink(), "certs-read", "trust bundle"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_wrong_file_is_one_error_of_its_check(files: Files, name: str) -> None:
    """Whatever the file is, one check says so and the others are not confused by it."""
    spoil, check, words = SPOILT[name]
    spoil(files)
    found = findings(subject(files.configured()), Status.ERROR)
    assert set(found) == {check}
    assert words in "\n".join(found[check])
    assert "BEGIN" not in "\n".join(found[check]).replace("-----BEGIN CERTIFICATE-----", "")


def test_swapped_files_are_told_of_both(files: Files) -> None:
    """Certificate and key in each other's place: both files say so."""
    _swap(files)
    found = findings(subject(files.configured()), Status.ERROR)
    assert set(found) == {"certs-read", "key-pairs-read"}
    assert all("were the two files swapped?" in "\n".join(messages) for messages in found.values())


def test_file_that_may_not_be_read_is_an_error(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system refuses is said; root may read everything, so the refusal is made."""

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = findings(subject(files.configured()), Status.ERROR)
    assert set(found) == {"certs-read", "key-pairs-read"}
    assert "permission denied" in found["certs-read"][0]


def test_trust_bundle_of_ten_thousand_certificates_is_looked_at_in_part(files: Files) -> None:
    """It is a warning, and the rest of the checks go on."""
    files.bundle.write_bytes(files.chain.trust_pem * 10_000)
    configured = subject(files.configured())
    assert findings(configured, Status.ERROR) == {}
    found = findings(configured, Status.WARNING)
    assert list(found) == ["certs-read"]
    assert f"holds 10000 certificates; only the first {pemfiles.MOST} were looked at" in found["certs-read"][0]


def test_key_that_everybody_may_read_is_a_warning(files: Files) -> None:
    """A private key is its owner's alone."""
    files.device_ca_key.chmod(0o644)
    assert "can be read by everybody" in findings(subject(files.configured()), Status.WARNING)["key-pairs-read"][0]


@pytest.mark.parametrize(
    ("validity", "status", "words"),
    [
        ((-DAY, 8 * DAY), Status.OK, ""),
        ((-DAY, 6 * DAY), Status.WARNING, "will expire soon"),
        ((-DAY, -DAY / 2), Status.ERROR, "expired at"),
        ((DAY, 30 * DAY), Status.ERROR, "has not-before time"),
    ],
)
@pytest.mark.parametrize("role", [Role.DEVICE_CA, Role.INTERMEDIATE])
def test_certificate_out_of_its_time_is_told(
    files: Files, role: Role, validity: tuple[timedelta, timedelta], status: Status, words: str
) -> None:
    """Any certificate of the file, not only the first as in the product: seven days before its end is a warning."""
    now, (start, end) = datetime.now(UTC).replace(microsecond=0), validity
    files.chain = files.chain.reissue(role, lambda old: replace(old, not_before=now + start, not_after=now + end))
    files.write()
    found = outcomes(subject(files.configured(), now=now))["certs-preloaded"]
    assert found.status is status
    assert words in "\n".join(found.details)
    assert files.chain.level(role).common_name in "\n".join(found.details) or status is Status.OK


def test_days_until_the_end_are_counted(files: Files) -> None:
    """The message has the product's form: when, and in how many days."""
    now = datetime.now(UTC).replace(microsecond=0)
    files.chain = files.chain.reissue(Role.DEVICE_CA, lambda old: replace(old, not_after=now + 3.5 * DAY))
    files.write()
    message = findings(subject(files.configured(), now=now), Status.WARNING)["certs-preloaded"][0]
    assert message.endswith(f"gw.factory.test.ca will expire soon ({now + 3.5 * DAY}, in 3 days)")


def test_identity_certificate_that_expired_is_its_own_check(files: Files) -> None:
    """The device's identity is told apart from the device CA."""
    old = files.chain.level(Role.DEVICE_CA)
    past = replace(old.template, not_before=datetime.now(UTC) - 9 * DAY, not_after=datetime.now(UTC) - DAY)
    files.identity.write_bytes(old.reissue(past).pem)
    assert set(findings(subject(files.configured()), Status.ERROR)) == {"identity-certificate-expiry"}


def test_quickstart_certificates_are_a_warning(files: Files) -> None:
    """No device CA is configured: the daemon makes one that no leaf trusts."""
    configured = files.configured(files=(), quickstart="no [edge_ca] is configured.")
    found = findings(subject(configured), Status.WARNING)
    assert set(found) == {"certificates-quickstart"}
    assert "which no leaf device trusts by itself" in found["certificates-quickstart"][0]


def test_certificate_that_is_in_no_file_is_not_judged(files: Files) -> None:
    """A device CA in a token or from an issuance service has no file: nothing is said of it."""
    token = Preloaded(EDGE_CA, "device CA certificate", "it is issued by EST", "its key is in a PKCS#11 token")
    found = outcomes(subject(files.configured(files=(token,))))
    assert not [one for one in found.values() if one.status in (Status.ERROR, Status.WARNING)]
    assert found["device-ca-full-chain"].reason == "it is issued by EST"
