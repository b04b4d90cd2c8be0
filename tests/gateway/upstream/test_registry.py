"""The identity registry: ids, keys, its file."""

import base64
import json
import stat

import pytest

from gateway import Device, RegistryError
from gateway.hub.identity import Identity
from gateway.upstream import Registry

KEY = base64.b64encode(b"k" * 32).decode()


def identity(device, module=None):
    """A parsed user name."""
    return Identity("hub", device, module, "1")


def test_device_gets_two_keys_of_its_own():
    """Missing keys are made, 32 random bytes each; a given one stays."""
    registry = Registry()
    first, second = registry.add(Device("a")), registry.add(Device("b", primary_key=KEY))
    keys = {first.primary_key, first.secondary_key, second.secondary_key}
    assert len(keys) == 3
    assert {len(base64.b64decode(key)) for key in keys} == {32}
    assert second.primary_key == KEY
    assert "a" in registry
    assert len(registry) == 2


@pytest.mark.parametrize("device_id", ["a", "A" * 128, "press-7.line_2", "%#*?!(),:=@$'+-.", "0"])
def test_device_id_of_the_documented_characters_is_accepted(device_id):
    """Letters, digits and the special characters of IoT Hub, up to 128."""
    assert Registry().add(Device(device_id)).device_id == device_id


@pytest.mark.parametrize(
    "device_id", ["", "A" * 129, "a b", "a/b", "ä", "a\n", "a&b", "a;b", 'a"b', "a\\b", " a", "a\0"]
)
def test_device_id_of_other_characters_is_refused(device_id):
    """Blank, too long, a slash, other characters: RegistryError naming the id, for modules too; nothing is added."""
    registry = Registry()
    registry.add(Device("press"))
    for device in (Device(device_id), Device("press", device_id)):
        with pytest.raises(RegistryError, match="cannot be a device or module id") as error:
            registry.add(device)
        assert repr(device_id) in error.value.message
        assert error.value.exit_code == 2
    assert len(registry) == 1


@pytest.mark.parametrize("key", ["no base64!", "AAA", "ä", KEY + "\n", "=" + KEY])
def test_key_that_is_no_base64_is_refused_without_showing_it(key):
    """RegistryError that does not repeat the key; the device is not added, an update changes nothing."""
    registry = Registry()
    with pytest.raises(RegistryError) as error:
        registry.add(Device("press", primary_key=key))
    assert key not in error.value.message + (error.value.hint or "")
    assert "press" not in registry
    device = registry.add(Device("press"))
    with pytest.raises(RegistryError):
        registry.update(Device("press", secondary_key=key))
    assert registry.get("press") == device


def test_device_is_registered_once():
    """The same id again is refused; ids that differ in case are two devices."""
    registry = Registry()
    registry.add(Device("press"))
    with pytest.raises(RegistryError, match="'press' is registered already"):
        registry.add(Device("press"))
    registry.add(Device("Press"))
    assert len(registry) == 2


def test_module_needs_its_device():
    """A module of an unknown device is refused; removing a device removes its modules."""
    registry = Registry()
    with pytest.raises(RegistryError, match="which is not registered"):
        registry.add(Device("press", "filter"))
    registry.add(Device("press"))
    registry.add(Device("press", "filter"))
    registry.add(Device("press2"))
    registry.remove("press", "filter")
    assert registry.find(identity("press", "filter")) is None
    registry.add(Device("press", "filter"))
    registry.remove("press")
    assert registry.find(identity("press")) is None
    assert registry.find(identity("press", "filter")) is None
    assert len(registry) == 1


@pytest.mark.parametrize("act", ["update", "remove"])
def test_unknown_device_cannot_be_changed(act):
    """RegistryError."""
    registry = Registry()
    with pytest.raises(RegistryError, match="'ghost' is not registered"):
        registry.update(Device("ghost")) if act == "update" else registry.remove("ghost")


def test_module_may_use_its_devices_keys_and_needs_both_enabled():
    """What a CONNECT is judged by."""
    registry = Registry()
    device, module = registry.add(Device("press")), registry.add(Device("press", "filter"))
    found = registry.find(identity("press", "filter"))
    assert found.keys == (module.primary_key, module.secondary_key, device.primary_key, device.secondary_key)
    assert found.enabled
    registry.update(Device("press", primary_key=KEY, enabled=False))
    assert not registry.find(identity("press", "filter")).enabled
    assert registry.find(identity("press")).keys == (KEY,)


def test_device_with_a_thumbprint_gets_no_keys():
    """It authenticates by certificate, with one or without a thumbprint known yet."""
    registry = Registry()
    assert registry.add(Device("a", thumbprints=("00",))).credentials.keys == ()
    assert registry.add(Device("b"), x509=True).credentials.keys == ()


def test_registry_survives_a_restart(tmp_path):
    """Additions, changes and removals are read back in order; the file is 0600 and its new folder 0700."""
    path = tmp_path / "state" / "registry.jsonl"
    registry = Registry(path)
    for name in ("a", "b", "c"):
        registry.add(Device(name))
    registry.add(Device("a", "m", thumbprints=("AB", "CD")))
    registry.update(Device("b", primary_key=KEY, enabled=False))
    registry.remove("c")
    again = Registry(path)
    assert [again.get(*key) for key in (("a",), ("a", "m"), ("b",), ("c",))] == [
        registry.get("a"),
        Device("a", "m", thumbprints=("AB", "CD")),
        Device("b", primary_key=KEY, enabled=False),
        None,
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "line",
    [b"no json", b"[]", b"{}", b'{"set": {}}', b'{"set": {"device_id": "a"}}', b'{"removed": 1}', b'"set"', b"\xff\xfe",
     b'{"set": {"device_id": "a", "thumbprints": [], "more": 1}}'],
)  # fmt: skip
def test_damaged_registry_is_refused_and_left_alone(tmp_path, line):
    """One clear error that quotes nothing of the file, which holds keys."""
    path = tmp_path / "registry.jsonl"
    Registry(path).add(Device("press", primary_key=KEY))
    damaged = path.read_bytes() + line + b"\n"
    path.write_bytes(damaged)
    with pytest.raises(RegistryError, match="cannot read the registry") as error:
        Registry(path)
    assert KEY not in error.value.message
    assert line.decode(errors="replace") not in error.value.message
    assert "it was not changed" in error.value.hint
    assert path.read_bytes() == damaged


def test_module_without_its_device_in_the_file_is_unknown(tmp_path):
    """A file that somebody has edited must not break a CONNECT."""
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    registry.add(Device("press"))
    registry.add(Device("press", "filter"))
    path.write_text(path.read_text().splitlines()[1] + "\n")
    assert Registry(path).find(identity("press", "filter")) is None


def test_registry_that_cannot_be_written_changes_nothing(tmp_path):
    """A folder where the file should be: RegistryError, and the device is not registered."""
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    path.mkdir()
    with pytest.raises(RegistryError, match="cannot write the registry"):
        registry.add(Device("press"))
    assert "press" not in registry


def test_registry_file_is_one_line_per_change(tmp_path):
    """Registering stays cheap with thousands of devices: nothing is rewritten."""
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    for number in range(100):
        registry.add(Device(f"d{number}"))
    lines = path.read_text().splitlines()
    assert [json.loads(line)["set"]["device_id"] for line in lines] == [f"d{number}" for number in range(100)]


def test_keys_are_in_no_repr():
    """Neither a device's repr nor its credentials' shows a key."""
    device = Registry().add(Device("press", primary_key=KEY))
    assert KEY not in repr(device) + repr(device.credentials)
    assert device.secondary_key not in repr(device)
