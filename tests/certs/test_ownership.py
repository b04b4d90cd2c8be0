"""The change of owner."""

import pytest

from certs import Authority, CachedKeys, DeviceCaNameError, Role, apply_defects, transfer
from tests.certs.tls import ACCEPTED, judge

HOST = "gw.iot.local"
OPERATORS = (Role.SERVER, Role.WORKLOAD_CA)


@pytest.mark.parametrize("generation", ["documented", "1.0.3", "1.1", "1.2", "1.5", "quickstart", "certgen"])
def test_transfer_keeps_the_manufacturers_part_and_renews_the_operators(generation, tmp_path):
    """Device CA and above stay byte for byte, keys included; below it every key is new; old leaves still connect."""
    before = Authority(hostname=HOST, generation=generation, key="ec").chain()
    after = transfer(before)
    for old, new in zip(before.levels, after.levels, strict=True):
        changed = old.role in OPERATORS
        assert (old.pem != new.pem) is changed
        assert (old.key_pem != new.key_pem) is changed
        assert (old.role, old.common_name) == (new.role, new.common_name)
    assert after.trust == before.trust
    assert judge(after, tmp_path, trust=before.trust_pem) == ACCEPTED


def test_transfer_to_another_hostname(tmp_path):
    """The new owner's host name goes into the new server certificate, the old one is gone, extra addresses stay."""
    before = Authority(hostname=HOST, ip_san=["10.1.2.3"]).chain()
    after = transfer(before, hostname="plant2.iot.local")
    assert judge(after, tmp_path) == ACCEPTED
    assert judge(after, tmp_path, name="10.1.2.3") == ACCEPTED
    assert judge(after, tmp_path, name=HOST).code == 62


def test_transfer_to_the_device_cas_name_is_refused():
    """The rule of the device CA's name holds for the new owner's host name too."""
    before = Authority(hostname=HOST, device_ca_cn="plant2.iot.local").chain()
    with pytest.raises(DeviceCaNameError):
        transfer(before, hostname="Plant2.iot.local")
    assert transfer(before, hostname="Plant2.iot.local", allow_cn_loop=True).hostname == "Plant2.iot.local"


def test_transfer_wipes_the_operators_defects(tmp_path):
    """An expired workload CA is wiped with the rest of the operator's part; an expired device CA is not."""
    sound = Authority(hostname=HOST).chain()
    assert judge(transfer(apply_defects(sound, ["expired-workload-ca"])), tmp_path) == ACCEPTED
    assert judge(transfer(apply_defects(sound, ["expired-intermediate"])), tmp_path).code == 10


def test_second_transfer_makes_other_keys_again():
    """Each transfer makes new keys, with a seed the same ones each time."""
    before = Authority(hostname=HOST, seed=3).chain()
    once, twice = transfer(before), transfer(transfer(before))
    assert once.key_pem != twice.key_pem
    assert once.sent_pem == transfer(before).sent_pem


def test_transfer_of_cached_rsa_keys_leaves_the_cache_alone(tmp_path):
    """A new owner's RSA key is fresh, not the cached one of the old owner."""
    keys = CachedKeys(tmp_path)
    before = Authority(hostname=HOST, generation="1.2", key="rsa2048", keys=keys).chain()
    assert transfer(before).key_pem != before.key_pem
    assert len(list(tmp_path.iterdir())) == len(before.levels)
