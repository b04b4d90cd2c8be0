"""Keys in tokens, as far as no token is needed; tests/interop/test_pkcs11.py has one."""

import sys

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from certs import CertsError
from certs.elsewhere import KeyNotHereError, Owner, key_elsewhere
from certs.existing import read_key
from certs.keys import generate, key_pem, kind_of
from certs.pkcs11 import MODULE_VARIABLE, token_key
from certs.pkcs11uri import parse

URI = "pkcs11:token=edge;object=device-ca?pin-value=Geheim7"


class Signs:
    """Holds a key as a token does."""

    name, reference = "the test's key", None

    def __init__(self, kind, signs=None):
        self.key = generate(kind)
        self.signs = signs or self.key

    def sign(self, data, algorithm):
        """Sign with the key that is really there."""
        if isinstance(self.signs, rsa.RSAPrivateKey):
            return self.signs.sign(data, padding.PKCS1v15(), algorithm)
        return self.signs.sign(data, ec.ECDSA(algorithm))

    refuse = Owner("the test").refuse


@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa2048"])
def test_key_elsewhere_stands_where_a_private_key_does(kind):
    """It is of the same kind and signs; what would need the key itself is refused."""
    holder = Signs(kind)
    key = key_elsewhere(holder.key.public_key(), holder)
    key.check()
    assert (kind_of(key), key.key_size) == (kind, holder.key.key_size)
    for needs_the_key in (lambda: key_pem(key), key.private_numbers):
        with pytest.raises(KeyNotHereError):
            needs_the_key()
    prehashed = utils.Prehashed(hashes.SHA256())
    scheme = (padding.PKCS1v15(), prehashed) if kind == "rsa2048" else (ec.ECDSA(prehashed),)
    with pytest.raises(UnsupportedAlgorithm):
        key.sign(bytes(32), *scheme)


@pytest.mark.parametrize("kind", ["ec", "rsa2048"])
def test_signature_of_another_key_is_noticed(kind):
    """Whatever the holder signs with, a signature that does not fit the public key goes nowhere."""
    holder = Signs(kind, signs=generate(kind))
    with pytest.raises(CertsError, match="the key of the test's key is not the certificate's"):
        key_elsewhere(holder.key.public_key(), holder).check()


def test_key_of_another_type_is_refused():
    """Ed25519 exists in tokens and in certificates, but IoT Edge has no use for it."""
    with pytest.raises(CertsError, match="Ed25519PublicKey") as caught:
        key_elsewhere(ed25519.Ed25519PrivateKey.generate().public_key(), Owner("a root"))
    assert caught.value.hint == "RSA or EC"


def test_python_pkcs11_is_asked_for_with_the_command_that_installs_it(monkeypatch):
    """The extra is imported once a token is used, and told by name when it is not there."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(CertsError) as caught:
        read_key(URI, "/usr/lib/softhsm/libsofthsm2.so")
    assert caught.value.message == "python-pkcs11 is not installed"
    assert caught.value.hint == "pip install 'leafgate[hsm]'"


def test_library_of_the_token_comes_from_uri_option_or_environment(monkeypatch):
    """In this order; without any it is said where to give it. The PIN shows in nothing of it."""
    monkeypatch.delenv(MODULE_VARIABLE, raising=False)
    with pytest.raises(CertsError) as caught:
        token_key(parse(URI))
    assert MODULE_VARIABLE in caught.value.hint
    assert "Geheim7" not in caught.value.message
    monkeypatch.setenv(MODULE_VARIABLE, "/from/environment.so")
    holder = token_key(parse(URI))
    assert holder.reference == {"uri": "pkcs11:token=edge;object=device-ca", "module": "/from/environment.so"}
    assert token_key(parse(URI), "/from/option.so").module == "/from/option.so"
    assert token_key(parse(URI + "&module-path=/from/uri.so"), "/from/option.so").module == "/from/uri.so"
    assert "Geheim7" not in f"{holder} {holder!r}"
