"""Where keys come from."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from certs import CachedKeys, CertsError, FreshKeys, SeededKeys
from certs.keys import KINDS, default_cache, generate, key_pem, kind_of, load_key


def same(first, second):
    """Whether two keys are one."""
    return first.private_numbers() == second.private_numbers()


@pytest.mark.parametrize("kind", [*KINDS, "secp256k1"])
def test_kind_of_a_key_is_recognised(kind):
    """A key's kind is found again, so that another like it can be made."""
    assert kind_of(CachedKeys().key(kind, "kind-test")) == kind


def test_fresh_keys_differ():
    """Fresh keys are never the same."""
    keys = FreshKeys()
    assert not same(keys.key("ec", "server"), keys.key("ec", "server"))


@pytest.mark.parametrize("kind", ["ec", "ec384", "secp256k1"])
def test_seeded_keys_follow_from_seed_and_purpose(kind):
    """The same seed and purpose give the same key, everything else another."""
    key = SeededKeys(1).key(kind, "server")
    assert same(key, SeededKeys(1).key(kind, "server"))
    assert not same(key, SeededKeys(1).key(kind, "root"))
    assert not same(key, SeededKeys(2).key(kind, "server"))


def test_seeded_rsa_keys_come_out_of_the_cache(tmp_path):
    """RSA keys do not follow from a seed; the cache gives the same one on this machine."""
    cache = CachedKeys(tmp_path)
    assert same(SeededKeys(1, cache).key("rsa2048", "server"), SeededKeys(2, cache).key("rsa2048", "server"))


def test_cache_keeps_a_key_per_kind_and_purpose(tmp_path):
    """A second cache on the folder gives the same keys; another purpose has another."""
    folder = tmp_path / "deep" / "keys"
    first = CachedKeys(folder).key("ec", "root")
    assert same(first, CachedKeys(folder).key("ec", "root"))
    assert not same(first, CachedKeys(folder).key("ec", "server"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_cache_used_at_once_gives_one_key(tmp_path):
    """Whoever asks at the same moment gets the winner's key, and nothing half-written stays."""
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: CachedKeys(tmp_path).key("ec", "root"), range(32)))
    assert all(same(keys[0], key) for key in keys)
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_cache_file_is_replaced(tmp_path):
    """A cut-off file of an earlier crash is made again."""
    CachedKeys(tmp_path).key("ec", "root")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert same(CachedKeys(tmp_path).key("ec", "root"), load_key(path.read_bytes()))


def test_cache_cannot_grow_without_end(tmp_path):
    """Any number of devices share a few cached keys."""
    cache = CachedKeys(tmp_path)
    for number in range(60):
        cache.key("ec", f"leaf:device:{number}")
    assert len(list(tmp_path.iterdir())) <= 16


def test_cache_that_cannot_be_written_is_told(tmp_path):
    """A file in the place of the folder is a clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CertsError) as refused:
        CachedKeys(tmp_path / "file" / "keys").key("ec", "root")
    assert str(tmp_path / "file") in refused.value.message


def test_default_cache_follows_the_environment(monkeypatch, tmp_path):
    """XDG_CACHE_HOME decides where the cache is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "leafgate" / "keys"


def test_key_file_can_be_encrypted():
    """An encrypted key needs its password; asking without one, or with one too many, is a ValueError."""
    key = generate("ec")
    assert same(load_key(key_pem(key, b"1234"), b"1234"), key)
    for pem, password in ((key_pem(key, b"1234"), None), (key_pem(key, b"1234"), b"x"), (key_pem(key), b"x")):
        with pytest.raises(ValueError, match=r"."):
            load_key(pem, password)
