"""Reading and signing beyond the builder."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from certs import Authority, CachedKeys, Role, load_certificate, load_certificates, serial_of
from certs.inspect import problems, tree
from certs.names import name
from certs.x509io import DER, extension, is_signed_by, public_key_id, rsa_bits, sign, to_pem

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def built(key, serial, extensions=()):
    """A self-signed certificate."""
    return sign(
        subject=name("x"), public_key=key.public_key(), not_before=NOW, not_after=NOW + timedelta(days=1),
        serial=serial, extensions=extensions, issuer=name("x"), issuer_key=key,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa2048", "rsa4096"])
@pytest.mark.parametrize("serial", [0, 1, 127, 128, 2**158])
def test_signature_is_right_for_every_serial(kind, serial):
    """Serial number 0, which the builder refuses, is signed as well as any other."""
    key = CachedKeys().key(kind, "x509io-test")
    certificate = built(key, serial, [(x509.BasicConstraints(ca=True, path_length=1), True)])
    assert serial_of(certificate) == serial
    assert is_signed_by(certificate, certificate)
    assert extension(certificate, x509.BasicConstraints).path_length == 1
    assert load_certificate(certificate.public_bytes(DER)) == load_certificate(to_pem([certificate])) == certificate


def test_reading_serial_zero_is_quiet_and_leaves_other_warnings_alone():
    """Only the warning about the product's serial number is silenced, and only while reading."""
    certificate = built(CachedKeys().key("ec", "x509io-test"), 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert serial_of(load_certificates(to_pem([certificate, certificate]))[1]) == 0
        warnings.warn("other", stacklevel=1)
    assert [str(one.message) for one in caught] == ["other"]


def test_ec_signatures_repeat():
    """The same content signed twice gives the same bytes."""
    key = CachedKeys().key("ec", "x509io-test")
    assert built(key, 5) == built(key, 5)


def test_pem_file_may_hold_other_things():
    """Text and keys around the certificates do not disturb."""
    chain = Authority().chain()
    text = b"subject: x\n" + chain.key_pem + chain.sent_pem + b"end\n"
    assert tuple(load_certificates(text)) == chain.sent


def test_foreign_kinds_of_keys_are_looked_at_without_an_error():
    """A port may serve keys that IoT Edge never uses: they are shown and judged like others."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    odd = ed25519.Ed25519PrivateKey.generate()
    for key, algorithm in ((short, hashes.SHA256()), (odd, None)):
        certificate = (
            x509.CertificateBuilder(name("gw.test"), name("gw.test"), key.public_key(), 7, NOW, NOW + timedelta(days=9))
            .sign(key, algorithm)
        )  # fmt: skip
        assert "server: gw.test" in tree([certificate], now=NOW)
        rules = {one.rule for one in problems([certificate], trust=[], now=NOW)}
        assert "T1" in rules
        assert ("W1" in rules) is (rsa_bits(certificate) == 1024)
        assert public_key_id(certificate)


def test_wrong_issuer_is_no_signer():
    """Name and signature both count."""
    chain, other = Authority().chain(), Authority().chain()
    server, workload_ca = chain.server.certificate, chain.level(Role.WORKLOAD_CA).certificate
    assert is_signed_by(server, workload_ca)
    assert not is_signed_by(server, other.level(Role.WORKLOAD_CA).certificate)
    assert not is_signed_by(server, chain.root.certificate)
