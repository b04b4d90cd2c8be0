"""The identity registry: ids, keys, its file."""

import base64
import dataclasses
import json
import stat

import pytest

from gateway import Device, RegistryError
from gateway.hub.service_identity import Authentication, device_scope
from gateway.upstream import Registry

KEY = base64.b64encode(b"k" * 32).decode()


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
    assert registry.service_identity("press/filter") is None
    registry.add(Device("press", "filter"))
    registry.remove("press")
    assert registry.service_identity("press") is None
    assert registry.service_identity("press/filter") is None
    assert len(registry) == 1


@pytest.mark.parametrize("act", ["update", "remove"])
def test_unknown_device_cannot_be_changed(act):
    """RegistryError."""
    registry = Registry()
    with pytest.raises(RegistryError, match="'ghost' is not registered"):
        registry.update(Device("ghost")) if act == "update" else registry.remove("ghost")


def test_module_has_keys_of_its_own_and_is_disabled_with_its_device():
    """What the Edge Hub judges a CONNECT by."""
    registry = Registry()
    registry.add(Device("press"))
    module = registry.add(Device("press", "filter"))
    found = registry.service_identity("press/filter")
    assert found.keys == (module.primary_key, module.secondary_key)
    assert found.enabled
    registry.update(Device("press", primary_key=KEY, enabled=False))
    assert not registry.service_identity("press/filter").enabled
    assert registry.service_identity("press").keys == (KEY,)


def test_device_with_a_thumbprint_gets_no_keys():
    """It authenticates by certificate, with one or without a thumbprint known yet."""
    registry = Registry()
    registry.add(Device("a", thumbprints=("00",)))
    registry.add(Device("b"), x509=True)
    for name in ("a", "b"):
        found = registry.service_identity(name)
        assert (found.keys, found.authentication) == ((), Authentication.SELF_SIGNED)


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
     b'{"set": {"device_id": "a", "thumbprints": [], "more": 1}}',
     b'{"set": {"device_id": "a", "thumbprints": [], "authentication": "faith"}}'],
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
    assert Registry(path).service_identity("press/filter") is None
    assert Registry(path).in_scope("press/filter") is None


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
    registry = Registry()
    registry.add(device)
    assert KEY not in repr(device) + repr(registry.service_identity("press"))
    assert device.secondary_key not in repr(device)


# -- kinds of authentication -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "kind", "keys"),
    [
        (Device("a"), "sas", 2),
        (Device("a", primary_key=KEY), "sas", 2),
        (Device("a", thumbprints=("AB",)), "selfSigned", 0),
        (Device("a", authentication="selfSigned"), "selfSigned", 0),
        (Device("a", authentication="certificateAuthority"), "certificateAuthority", 0),
        (Device("a", authentication="none"), "none", 0),
    ],
)
def test_kind_of_authentication_follows_or_is_said(device, kind, keys):
    """Thumbprints mean selfSigned; only devices with keys get any."""
    registry = Registry()
    registry.add(device)
    found = registry.service_identity("a")
    assert (found.authentication, len(found.keys)) == (kind, keys)


def test_unknown_kind_of_authentication_is_refused():
    """By add and by update; nothing changes."""
    registry = Registry()
    with pytest.raises(RegistryError, match="'faith' is no way to authenticate") as error:
        registry.add(Device("a", authentication="faith"))
    assert error.value.hint == "choose from sas, selfSigned, certificateAuthority, none"
    device = registry.add(Device("a"))
    with pytest.raises(RegistryError):
        registry.update(Device("a", authentication="faith"))
    assert registry.get("a") == device


def test_generation_stays_and_etag_changes():
    """An update keeps the generation, which a device that is registered anew does not get again."""
    registry = Registry()
    first = registry.add(Device("a"))
    registry.update(Device("a", enabled=False))
    second = registry.get("a")
    assert second.generation_id == first.generation_id
    assert second.etag not in ("", first.etag)
    registry.remove("a")
    assert registry.add(Device("a")).generation_id != first.generation_id
    assert len(first.generation_id) == 18
    assert first.generation_id.isdigit()


def test_registry_written_before_there_were_scopes_is_read(tmp_path):
    """Its devices are children of the gateway; what they lack is the same at each start."""
    path = tmp_path / "registry.jsonl"
    old = {"device_id": "press", "module_id": None, "primary_key": KEY, "secondary_key": "", "enabled": True}
    lines = [old | {"thumbprints": []}, old | {"device_id": "lathe", "primary_key": "", "thumbprints": ["AB"]}]
    path.write_text("".join(json.dumps({"set": line}) + "\n" for line in lines))
    one, two = (Registry(path, edge_device_id="gw") for _ in range(2))
    assert one.get("press") == Device("press", primary_key=KEY)
    assert one.in_scope("press").keys == (KEY,)
    assert one.in_scope("lathe").authentication == Authentication.SELF_SIGNED
    assert one.scope() == two.scope()
    assert one.in_scope("press").generation_id != one.in_scope("lathe").generation_id


# -- scope -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def nested():
    """The gateway with a leaf, an edge device with a leaf of its own, a stranger, and a module on each."""
    registry = Registry(edge_device_id="gw")
    registry.add(Device("leaf"))
    registry.add(Device("lower", edge=True))
    registry.add(Device("lower-leaf", parent="lower"))
    registry.add(Device("stranger", parent=None))
    registry.add(Device("elsewhere", edge=True, parent=None))
    registry.add(Device("elsewhere-leaf", parent="elsewhere"))
    for name in ("leaf", "lower", "lower-leaf", "stranger"):
        registry.add(Device(name, "m"))
    return registry


def test_scope_is_what_hangs_below_the_gateway(nested):
    """Its own device and modules, children, their children, and their modules; nobody else."""
    inside = {"gw", "gw/$edgeHub", "leaf", "leaf/m", "lower", "lower/$edgeHub", "lower/m", "lower-leaf", "lower-leaf/m"}
    assert {identity.client_id for identity in nested.scope()} == inside
    outside = {"stranger", "stranger/m", "elsewhere", "elsewhere-leaf", "ghost", "ghost/m", "leaf/ghost", "", "/"}
    assert [name for name in inside if nested.in_scope(name) is None] == []
    assert [name for name in outside if nested.in_scope(name) is not None] == []


def test_scopes_are_written_as_iot_hub_writes_them(nested):
    """An edge device has its own and its parent's; a leaf has its parent's as both; a module has none."""
    gateway, lower = (device_scope(name, nested.get(name).generation_id) for name in ("gw", "lower"))
    found = {identity.client_id: (identity.scope, identity.parent_scopes) for identity in nested.scope()}
    assert found["gw"] == (gateway, ())
    assert found["leaf"] == (gateway, (gateway,))
    assert found["lower"] == (lower, (gateway,))
    assert found["lower-leaf"] == (lower, (lower,))
    assert found["leaf/m"] == found["gw/$edgeHub"] == (None, ())
    assert nested.service_identity("stranger").scope is None
    assert nested.in_scope("lower").edge
    assert not nested.in_scope("leaf").edge


def test_parent_is_changed_by_an_update(nested):
    """Out of scope, and back in."""
    device = nested.get("leaf")
    nested.update(dataclasses.replace(device, parent=None))
    assert nested.in_scope("leaf") is None
    nested.update(dataclasses.replace(device, parent="lower"))
    assert nested.in_scope("leaf").parent_scopes == nested.in_scope("lower-leaf").parent_scopes


@pytest.mark.parametrize("parent", ["ghost", "leaf"])
def test_parent_has_to_be_an_edge_device(nested, parent):
    """IoT Hub refuses a device scope that is none."""
    with pytest.raises(RegistryError, match=f"'{parent}' cannot be a parent: it is no edge device"):
        nested.add(Device("new", parent=parent))
    assert "new" not in nested
    with pytest.raises(RegistryError, match="a module cannot be an edge device"):
        nested.add(Device("leaf", "new", edge=True))


def test_five_edge_devices_may_hang_below_each_other():
    """Deeper ones are out of scope, and parents in a circle lead nowhere."""
    registry = Registry(edge_device_id="gw")
    above = "gw"
    for number in range(6):
        registry.add(Device(f"e{number}", edge=True, parent=above))
        above = f"e{number}"
    assert [registry.in_scope(f"e{number}") is not None for number in range(6)] == [True] * 5 + [False]
    registry.update(Device("e0", edge=True, parent="e1"))
    assert registry.in_scope("e1") is None


def test_gateway_is_registered_once(tmp_path):
    """With its module; a device that is no edge device cannot be the gateway."""
    path = tmp_path / "registry.jsonl"
    first = Registry(path, edge_device_id="gw")
    assert (first.get("gw").edge, first.get("gw", "$edgeHub").primary_key != "") == (True, True)
    assert Registry(path, edge_device_id="gw").get("gw") == first.get("gw")
    first.add(Device("leaf"))
    with pytest.raises(RegistryError, match="'leaf' is registered as a device that is no edge device"):
        Registry(path, edge_device_id="leaf")


def test_identity_json_is_that_of_the_service_api(nested):
    """With the device's own status, its ETag and its keys."""
    device = nested.add(Device("new", primary_key=KEY, enabled=False))
    shown = nested.identity_json("new")
    assert shown["authentication"]["symmetricKey"] == {"primaryKey": KEY, "secondaryKey": device.secondary_key}
    assert (shown["status"], shown["etag"], shown["statusReason"]) == ("disabled", device.etag, None)
    assert nested.identity_json("leaf", "m")["moduleId"] == "m"
    assert nested.identity_json("ghost") is None
