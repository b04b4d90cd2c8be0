"""Each defect of the catalogue, judged by OpenSSL in a real handshake."""

import ssl
from itertools import permutations

import pytest
from cryptography import x509

from certs import (
    DEFECTS,
    Authority,
    CachedKeys,
    CertsError,
    Role,
    apply_defects,
    other_root,
    same_named_root,
    serial_of,
)
from certs.x509io import to_pem
from tests.certs.tls import ACCEPTED, Verdict, judge

HOST = "gw.iot.local"
#: what Python's ssl and paho answered to the same chains in a measurement over 26 TLS stacks
MESSAGES = {
    2: ("unable to get issuer certificate", "unknown_ca"),
    7: ("certificate signature failure", "decrypt_error"),
    9: ("certificate is not yet valid", "bad_certificate"),
    10: ("certificate has expired", "certificate_expired"),
    18: ("self-signed certificate", "unknown_ca"),
    19: ("self-signed certificate in certificate chain", "unknown_ca"),
    20: ("unable to get local issuer certificate", "unknown_ca"),
    25: ("path length constraint exceeded", "unknown_ca"),
    26: ("unsuitable certificate purpose", "unsupported_certificate"),
    47: ("permitted subtree violation", "certificate_unknown"),
    62: (f"Hostname mismatch, certificate is not valid for '{HOST}'.", "bad_certificate"),
    64: ("IP address mismatch, certificate is not valid for '127.0.0.1'.", "bad_certificate"),
    66: ("EE certificate key too weak", "bad_certificate"),
    67: ("CA certificate key too weak", "bad_certificate"),
    68: ("CA signature digest algorithm too weak", "bad_certificate"),
    79: ("invalid CA certificate", "unknown_ca"),
}


def verdict(code):
    """The whole verdict that belongs to a verify code."""
    return ACCEPTED if code is None else Verdict(code, *MESSAGES[code])


def chain(**options):
    """A sound chain for HOST."""
    return Authority(hostname=HOST, **options).chain()


def test_sound_chain_is_accepted(tmp_path):
    """Without a defect OpenSSL accepts the chain."""
    assert judge(chain(), tmp_path) == ACCEPTED


#: what keeps the server itself from starting, so that no leaf has a verdict
NOT_SERVED = "key-of-another-certificate"
#: what the documented chain is already like
NO_CHANGE = {"root-sent", "serial-positive"}


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=lambda defect: defect.name)
def test_defect_gets_the_verdict_of_its_entry(defect, tmp_path):
    """OpenSSL answers the chain with the defect as the catalogue says, and so does the alert to the gateway."""
    broken = apply_defects(chain(keys=CachedKeys()), [defect.name])
    if defect.name == NOT_SERVED:
        with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
            judge(broken, tmp_path)
    else:
        assert judge(broken, tmp_path) == verdict(defect.verify_code)


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=lambda defect: defect.name)
def test_defect_changes_something(defect):
    """No entry of the catalogue is without effect, and each has a sentence of its own."""
    sound = chain(generation="1.5") if defect.name in NO_CHANGE else chain()
    broken = apply_defects(sound, [defect.name])
    assert (broken, broken.key_pem) != (sound, sound.key_pem)
    assert defect.summary.endswith(".")
    assert defect.theme


def test_intermediate_above_two_authorities_needs_path_length(tmp_path):
    """Where the device CA signs the server certificate itself, it is the intermediate that allows too little."""
    broken = apply_defects(chain(generation="1.3", key="ec"), ["path-length-too-small"])
    limited = broken.level(Role.INTERMEDIATE).template.get(x509.BasicConstraints)
    assert limited.path_length == 0
    assert judge(broken, tmp_path) == verdict(25)


def test_ip_address_as_dns_name_fails_for_who_connects_by_address(tmp_path):
    """A leaf that connects by IP address wants an iPAddress entry, which the same chain without the defect has."""
    sound = chain(ip_san=["127.0.0.1"])
    assert judge(sound, tmp_path, name="127.0.0.1") == ACCEPTED
    assert judge(apply_defects(sound, ["ip-as-dns-san"]), tmp_path, name="127.0.0.1") == verdict(64)


@pytest.mark.parametrize(("generation", "code"), [("documented", 19), ("1.1", 20), ("1.5", 20), ("quickstart", 20)])
def test_root_recreated_under_its_name_is_refused(generation, code, tmp_path):
    """A leaf that trusts the earlier root of the same name refuses: in words that depend on whether a root is sent."""
    sound = chain(generation=generation, key="ec")
    assert judge(sound, tmp_path) == ACCEPTED
    broken = apply_defects(sound, ["same-named-root"])
    assert broken.trust == sound.trust
    assert broken.root.certificate.subject == sound.root.certificate.subject
    assert judge(broken, tmp_path) == verdict(code)


@pytest.mark.parametrize(("stranger", "code"), [(same_named_root, 19), (other_root, 19)])
def test_leaf_with_another_root_refuses(stranger, code, tmp_path):
    """A leaf that trusts another root, of the same name or not, refuses the sound chain."""
    sound = chain()
    assert judge(sound, tmp_path, trust=to_pem([stranger(sound)])) == verdict(code)
    without_root = apply_defects(sound, ["root-not-sent"])
    assert judge(without_root, tmp_path, trust=to_pem([stranger(sound)])) == verdict(20)


def test_strangers_have_other_keys_even_out_of_a_cache(tmp_path):
    """Keys out of a cache do not make a stranger's root the chain's own."""
    sound = chain(keys=CachedKeys(tmp_path / "cache"))
    assert judge(sound, tmp_path) == ACCEPTED
    assert judge(sound, tmp_path, trust=to_pem([same_named_root(sound)])) == verdict(19)


def test_replaced_device_ca_without_key_ids_is_a_wrong_signature(tmp_path):
    """Without key identifiers nothing but the signature tells the old device CA from the new one."""
    broken = apply_defects(chain(), ["no-key-ids", "device-ca-replaced"])
    assert judge(broken, tmp_path) == verdict(7)


def test_defects_combine_in_any_order():
    """Three defects on different levels give the same certificates whatever their order."""
    sound = chain(seed=5)
    three = ["expired-workload-ca", "missing-intermediate", "device-ca-not-ca"]
    results = {apply_defects(sound, order).sent_pem for order in permutations(three)}
    assert len(results) == 1


def test_defect_with_a_seed_repeats():
    """A defect that makes a new key makes the same one for the same seed."""
    first, second = (apply_defects(chain(seed=5), ["device-ca-replaced", "same-named-root"]) for _ in range(2))
    assert first.sent_pem == second.sent_pem


def test_serial_zero_stays_readable(tmp_path):
    """Serial number 0 is written, read back without a warning and accepted by OpenSSL."""
    broken = apply_defects(chain(key="rsa2048", keys=CachedKeys()), ["serial-zero"])
    assert serial_of(broken.server.certificate) == 0
    assert judge(broken, tmp_path) == ACCEPTED


@pytest.mark.parametrize(
    ("generation", "defect"),
    [("1.3", "missing-workload-ca"), ("quickstart", "wrong-order"), ("quickstart", "duplicate-certificate"),
     ("quickstart", "path-length-too-small"), ("certgen", "device-ca-not-ca"), ("1.1", "no-such-defect")],
)  # fmt: skip
def test_defect_that_a_chain_cannot_have_is_told(generation, defect):
    """A defect without its level, or without its name in the catalogue, is an error that says what would do."""
    with pytest.raises(CertsError) as refused:
        apply_defects(chain(generation=generation, key="ec"), [defect])
    assert refused.value.exit_code == 2
    assert defect in refused.value.message or generation in refused.value.message
