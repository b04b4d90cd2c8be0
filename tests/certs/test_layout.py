"""A chain kept in a folder."""

import json
import stat

import pytest

from certs import Authority, CachedKeys, CertsError, Role, apply_defects, layout
from tests.certs.tls import ACCEPTED, judge


def chain(**options):
    """A chain for gw.test."""
    return Authority(hostname="gw.test", **options).chain()


@pytest.mark.parametrize("generation", ["documented", "1.2", "quickstart", "certgen"])
def test_chain_survives_saving_and_loading(generation, tmp_path):
    """Certificates, keys, what is sent and what is trusted come back equal, and the chain can still be changed."""
    before = chain(generation=generation, key="ec")
    layout.save(before, tmp_path)
    after = layout.load(tmp_path)
    assert after == before
    assert [level.key_pem for level in after.levels] == [level.key_pem for level in before.levels]
    assert judge(after, tmp_path) == ACCEPTED
    assert judge(apply_defects(after, ["expired-server"]), tmp_path).code == 10


def test_defective_chain_survives_saving_and_loading(tmp_path):
    """What goes on the wire is kept as it is: order, duplicates, and certificates whose issuer was replaced."""
    before = apply_defects(chain(), ["device-ca-replaced", "duplicate-certificate", "wrong-order"])
    layout.save(before, tmp_path)
    assert layout.load(tmp_path).sent_pem == before.sent_pem


def test_keys_are_private_to_their_owner(tmp_path):
    """Every key file is 0600 and the folders on the way to it 0700; the trusted root is readable."""
    layout.save(chain(), tmp_path / "state")
    keys = list((tmp_path / "state").rglob("*.key.pem"))
    assert len(keys) == 5
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert {stat.S_IMODE(key.parent.stat().st_mode) for key in keys} == {0o700}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert layout.trust_file(tmp_path / "state").read_bytes() == layout.load(tmp_path / "state").trust_pem


def test_saved_chain_is_not_overwritten(tmp_path):
    """A second chain is refused; with replace the first is moved aside and its place told."""
    first, second = chain(), chain()
    assert layout.save(first, tmp_path) is None
    with pytest.raises(CertsError) as refused:
        layout.save(second, tmp_path)
    assert "already" in refused.value.message
    aside = layout.save(second, tmp_path, replace=True)
    assert layout.load(tmp_path) == second
    assert (aside / "sent.pem").read_bytes() == first.sent_pem
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_existing_folder_keeps_its_permissions(tmp_path):
    """A folder that was there before is the user's; only what is made inside it is private."""
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    layout.save(chain(), state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o755
    assert stat.S_IMODE((state / layout.FOLDER).stat().st_mode) == 0o700


def cut_certificate(folder):
    """Damage the server certificate."""
    path = folder / "certs" / "0-server.cert.pem"
    path.write_bytes(path.read_bytes()[:200])


def other_key(folder):
    """Put another key in place of the server's."""
    (folder / "private" / "0-server.key.pem").write_bytes(chain().key_pem)


def no_key(folder):
    """Lose the root's key."""
    (folder / "private" / "4-root.key.pem").unlink()


def bad_key(folder):
    """Damage a key."""
    (folder / "private" / "4-root.key.pem").write_text("nonsense")


def bad_json(folder):
    """Damage the description."""
    (folder / "chain.json").write_text("{")


def later_format(folder):
    """Pretend that a later version wrote it."""
    (folder / "chain.json").write_text(json.dumps({"version": 99}))


def no_levels(folder):
    """Describe nothing."""
    (folder / "chain.json").write_text(json.dumps({"version": 1, "hostname": "x", "generation": "1.1", "levels": []}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_certificate, "0-server.cert.pem: no certificate in it"),
        (other_key, "0-server.key.pem: it is not the key of 0-server.cert.pem"),
        (no_key, "4-root.key.pem: cannot be read"),
        (bad_key, "4-root.key.pem: not a private key"),
        (bad_json, "chain.json: not what leafgate wrote"),
        (later_format, "chain.json: format 99 is not known here"),
        (no_levels, "chain.json: not what leafgate wrote"),
    ],
)
def test_damaged_folder_is_told(damage, said, tmp_path):
    """What is missing, damaged or does not belong together is named, with a hint and without a traceback or a key."""
    layout.save(chain(), tmp_path)
    damage(tmp_path / layout.FOLDER)
    with pytest.raises(CertsError) as refused:
        layout.load(tmp_path)
    assert said in refused.value.message
    assert refused.value.hint
    assert "PRIVATE" not in refused.value.message


def test_nothing_saved_is_told(tmp_path):
    """An empty folder has no chain, and loading it says so."""
    assert not layout.exists(tmp_path)
    with pytest.raises(CertsError) as refused:
        layout.load(tmp_path)
    assert "chain.json: cannot be read" in refused.value.message


def test_folder_that_cannot_be_made_is_told(tmp_path):
    """A file in the way of the folder is named."""
    (tmp_path / "state").write_text("")
    with pytest.raises(CertsError) as refused:
        layout.save(chain(), tmp_path / "state")
    assert str(tmp_path / "state") in refused.value.message


def test_key_never_shows_in_a_representation():
    """Printing a level or a chain shows no key."""
    one = chain(key="rsa2048", keys=CachedKeys())
    text = repr(one) + repr(one.level(Role.SERVER)) + str(one)
    assert "key" not in text.lower()
