"""Chains made again from public certificates: judged as the original is, with every key another."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from certs import Authority, CertsError, apply_defects, der
from certs.diagnose import problems
from certs.imitation import MOST, imitate
from certs.keys import CachedKeys
from certs.outcomes import outcomes
from certs.recipes import RECIPES, rebuild
from certs.x509io import has_signature_of, key_id, public_key_id
from tests.certs.test_recipes import NOT_IN_MEMORY, judge

#: a server does not start with the key of another certificate, so nobody can have been shown this chain
ROWS = sorted(set(RECIPES) - NOT_IN_MEMORY - {"key-mismatch"})
DAY = dt.timedelta(days=1)


def imitated(chain, **options):
    """The chain made again from what everybody may see of it."""
    options = {"hostname": chain.hostname, "keys": CachedKeys(), **options}
    return imitate(chain.sent, chain.trust, **options)


def chain_of(*defects, **options):
    """A chain with EC keys, which are quick to make."""
    return apply_defects(Authority(hostname="gw.iot.local", **options).chain(), defects)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ROWS)
def test_imitation_is_judged_as_the_original(name, tmp_path):
    """For every measured chain: the same findings, and Python's ssl and the server say the same words."""
    row, original = outcomes()[name], rebuild(name)
    copy = imitated(original)
    found = [problems(one.sent, name=row.asked, trust=one.trust) for one in (original, copy)]
    assert found[0] == found[1]
    assert judge(original, row, tmp_path) == judge(copy, row, tmp_path)


@pytest.mark.parametrize("name", ROWS)
def test_imitation_differs_in_keys_and_signatures_only(name):
    """Names, serial numbers, dates, extensions in their order and the signature's algorithm are the original's."""
    original = rebuild(name)
    copy = imitated(original)
    for old, new in zip((*original.sent, *original.trust), (*copy.sent, *copy.trust), strict=True):
        if old == new:
            assert old in original.trust  # a trusted root that has nothing to do with the chain
            continue
        (subject_public_key,) = (
            at
            for at, (one, other) in enumerate(zip(*map(content, (old, new)), strict=True))
            if one != other  # nothing else differs
        )
        assert content(new)[subject_public_key] == public_key_id(new) != public_key_id(old)
        assert old.signature_algorithm_oid == new.signature_algorithm_oid


def content(certificate):
    """The elements of what is signed."""
    return der.parts(certificate.tbs_certificate_bytes)


@pytest.mark.parametrize("generation", ["1.0.3", "1.0.4", "1.1", "1.2", "1.5", "quickstart", "certgen"])
def test_every_generation_can_be_imitated(generation):
    """A healthy chain stays healthy, in its number of levels too."""
    original = Authority(hostname="gw.iot.local", generation=generation, keys=CachedKeys()).chain()
    copy = imitated(original, generation=generation)
    assert problems(copy.sent, name="gw.iot.local", trust=copy.trust) == problems(
        original.sent, name="gw.iot.local", trust=original.trust
    )
    assert [one.role for one in copy.levels] == [one.role for one in original.levels]


def test_same_key_twice_is_the_same_key_twice():
    """A root renewed with its old key is imitated so."""
    original = rebuild("root-renewed-samekey")
    copy = imitated(original)
    assert public_key_id(copy.trust[0]) == key_id(copy.root.key)


def test_signature_by_nobody_stays_so():
    """What the named issuer did not sign is not signed by its copy."""
    copy = imitated(chain_of("device-ca-replaced"))
    workload_ca, device_ca = copy.sent[1], copy.sent[2]
    assert workload_ca.issuer == device_ca.subject
    assert not has_signature_of(workload_ca, device_ca.public_key())


def test_authority_that_is_not_there_gets_a_stand_in():
    """What exists goes up to a root, so that the gateway can renew; what is sent and trusted does not change."""
    original = chain_of("missing-intermediate", "root-not-sent")
    copy = imitated(original)
    assert copy.root.template.subject == original.sent[-1].issuer
    assert has_signature_of(copy.sent[-1], copy.root.key.public_key())
    assert copy.root.certificate not in (*copy.sent, *copy.trust)


def test_without_trust_the_top_is_trusted():
    """A capture alone tells nothing about the leaf: then the chain's own top is what it should have trusted."""
    original = chain_of("root-not-sent")
    copy = imitate(original.sent, None, hostname="gw.iot.local")
    found = [problems(one.sent, name="gw.iot.local", trust=one.trust) for one in (original, copy)]
    assert found[0] == found[1]


def test_dates_are_moved_when_asked():
    """An old capture is judged for its time: everything is moved by whole seconds, what never ends still does not."""
    original = chain_of("expired-server")
    copy = imitated(original, moved=100 * DAY + dt.timedelta(seconds=0.7))
    for old, new in zip(original.sent, copy.sent, strict=True):
        assert new.not_valid_before_utc - old.not_valid_before_utc == 100 * DAY
        assert new.not_valid_after_utc - old.not_valid_after_utc == 100 * DAY


def self_signed(key, *, digest=None, ends=None, how=None):
    """A certificate of the least kind for a key, and a chain of it alone."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw.iot.local")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now.replace(tzinfo=None), ends or now + DAY)
    return builder.sign(key, digest or hashes.SHA256(), rsa_padding=how)


@pytest.mark.parametrize(
    ("key", "how"),
    [
        (ec.generate_private_key(ec.SECP384R1()), None),
        (ec.generate_private_key(ec.SECP521R1()), None),
        (rsa.generate_private_key(65537, 1536), None),
        (
            rsa.generate_private_key(65537, 1536),
            padding.PSS(padding.MGF1(hashes.SHA512()), padding.PSS.DIGEST_LENGTH),
        ),
    ],
)
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA512()])
def test_kinds_of_keys_and_signatures(key, digest, how):
    """Curve, length, hash and padding are the original's; here for kinds that the measured chains do not have."""
    original = self_signed(key, digest=digest, how=how)
    copy = imitate([original], None, hostname="gw.iot.local").sent[0]
    assert has_signature_of(copy, copy.public_key())
    assert copy.signature_hash_algorithm.name == digest.name
    assert copy.public_key().key_size == key.key_size


def test_what_never_ends_is_not_moved():
    """99991231235959Z means that there is no end."""
    ends = dt.datetime(9999, 12, 31, 23, 59, 59)
    original = self_signed(ec.generate_private_key(ec.SECP256R1()), ends=ends)
    copy = imitate([original], None, hostname="gw", moved=DAY).sent[0]
    assert copy.not_valid_after_utc == original.not_valid_after_utc
    assert copy.not_valid_before_utc == original.not_valid_before_utc + DAY


def test_end_of_2050_changes_how_it_is_written():
    """UTCTime ends with 2049 (RFC 5280, 4.1.2.5); a verifier reads the moved date."""
    original = self_signed(ec.generate_private_key(ec.SECP256R1()), ends=dt.datetime(2049, 12, 31))
    copy = imitate([original], None, hostname="gw", moved=DAY).sent[0]
    assert copy.not_valid_after_utc == dt.datetime(2050, 1, 1, tzinfo=dt.UTC)


def test_moving_too_far_is_an_error():
    """Certificates have no dates before 1950."""
    original = self_signed(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(CertsError, match="cannot be moved by -36500 days"):
        imitate([original], None, hostname="gw", moved=-36500 * DAY)


def test_trusted_roots_of_others_stay_as_they_are():
    """A whole system store is no obstacle: only what has to do with the chain gets a new key."""
    original = chain_of()
    others = [self_signed(ec.generate_private_key(ec.SECP256R1())) for _ in range(3)]
    renamed = [chain_of(root_cn=f"Root {at}").root.certificate for at in range(MOST)]
    copy = imitate(original.sent, [*renamed, *original.trust], hostname="gw.iot.local")
    assert copy.trust[:-1] == tuple(renamed)
    assert copy.trust[-1] == copy.sent[-1]
    assert others[0] not in copy.trust


def test_seed_repeats_the_copy():
    """EC keys follow from the seed."""
    original = chain_of()
    assert imitated(original, seed=4, keys=None).sent == imitated(original, seed=4, keys=None).sent


def test_too_many_certificates_are_refused():
    """Thousands of keys would take hours."""
    served = [self_signed(ec.generate_private_key(ec.SECP256R1())) for _ in range(MOST + 1)]
    with pytest.raises(CertsError, match=f"more than {MOST} certificates"):
        imitate(served, None, hostname="gw")


def test_key_of_another_kind_is_refused_by_name():
    """The message names the certificate."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "odd")])
    now = dt.datetime(2026, 1, 1)
    original = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + DAY).sign(key, None)
    with pytest.raises(CertsError, match='"odd" cannot be imitated: its key is neither RSA nor of a known curve'):
        imitate([original], None, hostname="gw")
