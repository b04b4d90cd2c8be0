"""A gateway below a device CA that exists already."""

import json

import pytest

from certs import Authority, CachedKeys, CertsError, Role, layout
from certs.elsewhere import KeyNotHereError
from certs.errors import DeviceCaNameError
from certs.existing import below, with_device_ca_key
from tests.certs.tls import ACCEPTED, judge


def factory(hostname="gw.test", **options):
    """What a manufacturer delivers: a hierarchy down to the device CA."""
    return Authority(hostname=hostname, key="ec", keys=CachedKeys(), **options).chain()


def delivered(chain, *, root=True):
    """The full-chain file of the device CA, and its key."""
    at = chain.levels.index(chain.level(Role.DEVICE_CA))
    levels = chain.levels[at:] if root else chain.levels[at:-1]
    return [level.certificate for level in levels], chain.level(Role.DEVICE_CA).key


@pytest.mark.parametrize(
    ("generation", "roles"),
    [
        ("documented", ["server", "workload-ca", "device-ca", "intermediate", "root"]),
        ("1.1", ["server", "workload-ca", "device-ca", "intermediate"]),
        ("1.5", ["server", "device-ca", "intermediate"]),
    ],
)
def test_chain_below_an_existing_device_ca_is_accepted(generation, roles, tmp_path):
    """A leaf that trusts the root of the file connects, and what is sent is what the generation sends."""
    certificates, key = delivered(factory())
    chain = below(certificates, key, hostname="gw.test", generation=generation, keys=CachedKeys())
    assert judge(chain, tmp_path) == ACCEPTED
    by_certificate = {level.certificate: level.role for level in chain.levels}
    assert [by_certificate[one] for one in chain.sent] == roles
    assert chain.trust == (certificates[-1],)


def test_root_may_come_from_the_trust_bundle_and_the_file_in_any_order(tmp_path):
    """The device CA is the first of the file; what is above it is found by issuer and signature."""
    old = factory(intermediates=2)
    (device_ca, *above), key = delivered(old, root=False)
    chain = below([device_ca, *reversed(above)], key, hostname="gw.test", trust=old.trust, keys=CachedKeys())
    assert chain.sent[1:] == (device_ca, *above)
    assert judge(chain, tmp_path) == ACCEPTED


def test_trust_bundle_of_somebody_else_is_served_and_refused_by_leaves(tmp_path):
    """A gateway whose bundle does not fit starts, as the product does; OpenSSL ends at the intermediate: code 20."""
    certificates, key = delivered(factory(), root=False)
    stranger = Authority(key="ec", root_cn="Another Root", keys=CachedKeys()).chain()
    chain = below(certificates, key, hostname="gw.test", trust=stranger.trust, keys=CachedKeys())
    assert judge(chain, tmp_path).code == 20


def test_self_signed_device_ca_is_its_own_root(tmp_path):
    """A device CA without anything above it is trusted itself and, being self-signed, not sent."""
    certificates, key = delivered(factory(generation="quickstart"))
    chain = below(certificates, key, hostname="gw.test", keys=CachedKeys())
    assert [level.role for level in chain.levels] == [Role.SERVER, Role.DEVICE_CA]
    assert chain.sent == (chain.server.certificate,)
    assert judge(chain, tmp_path) == ACCEPTED


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"key": lambda: factory("gw2.test").root.key}, CertsError, "not the key of the device CA certificate"),
        ({"root": False}, CertsError, "no root is known"),
        ({"hostname": "GW.test.ca"}, DeviceCaNameError, "'gw.test.ca'"),
        ({"generation": "quickstart"}, CertsError, "cannot be given a device CA"),
        ({"generation": "certgen"}, CertsError, "cannot be given a device CA"),
    ],
)
def test_what_cannot_start_is_refused(change, error, words):
    """Another key, no root, the device CA's own name as host name, a generation without a configured device CA."""
    options = dict(change)
    certificates, key = delivered(factory(), root=options.pop("root", True))
    key = options.pop("key", lambda: key)()
    with pytest.raises(error) as caught:
        below(certificates, key, **{"hostname": "gw.test", **options})
    assert words in caught.value.message
    assert caught.value.hint


def test_owner_of_the_root_signs_nothing_here():
    """Only the device CA's key was given: what the root would have to sign is refused, and said."""
    certificates, key = delivered(factory())
    chain = below(certificates, key, hostname="gw.test", keys=CachedKeys())
    with pytest.raises(KeyNotHereError, match="cannot sign: its private key is not here"):
        chain.reissue(Role.ROOT, lambda template: template)
    with pytest.raises(CertsError, match="cannot be moved in time"):
        chain.shifted(-86400)
    with pytest.raises(KeyNotHereError, match="cannot be written down"):
        _ = chain.root.key_pem


def test_kept_chain_takes_only_its_own_device_ca_key():
    """The key of the same device CA may be given again; another one is refused."""
    certificates, key = delivered(factory())
    chain = below(certificates, key, hostname="gw.test", keys=CachedKeys())
    assert with_device_ca_key(chain, key).levels == chain.levels
    with pytest.raises(CertsError, match="not that of the chain kept"):
        with_device_ca_key(chain, chain.server.key)


@pytest.mark.parametrize("root", [True, False])
def test_chain_below_an_existing_device_ca_survives_saving_and_loading(root, tmp_path):
    """The keys that are not here are in no file, also where a root is not even known, and the chain comes back."""
    certificates, key = delivered(factory(), root=root)
    stranger = Authority(key="ec", root_cn="Another Root", keys=CachedKeys()).chain()
    before = below(certificates, key, hostname="gw.test", trust=() if root else stranger.trust, keys=CachedKeys())
    layout.save(before, tmp_path)
    assert len(list(tmp_path.rglob("*.key.pem"))) == 2
    after = layout.load(tmp_path)
    assert after == before
    assert judge(after, tmp_path).code == (None if root else 20)
    with pytest.raises(KeyNotHereError):
        _ = after.level(Role.INTERMEDIATE).key_pem


@pytest.mark.parametrize("reference", ["", {}, {"uri": 1, "module": "x"}])
def test_damaged_reference_to_a_key_is_told(reference, tmp_path):
    """A state folder in which it is not said where a key is belongs to nobody."""
    certificates, key = delivered(factory())
    layout.save(below(certificates, key, hostname="gw.test", keys=CachedKeys()), tmp_path)
    path = tmp_path / layout.FOLDER / "chain.json"
    description = json.loads(path.read_text())
    description["elsewhere"]["2-intermediate"] = reference
    path.write_text(json.dumps(description))
    with pytest.raises(CertsError, match="not what leafgate wrote"):
        layout.load(tmp_path)
