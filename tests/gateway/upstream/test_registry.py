"""The identity registry: ids, keys, its file."""

import base64
import dataclasses
import json
import stat

import pytest

from gateway import Device, ManualClock, RegistryError, StoreError
from gateway.hub.service_identity import Authentication, device_scope
from gateway.upstream import Registry
from gateway.upstream.database import HubDatabase

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
    path = tmp_path / "state" / "hub.db"
    registry = Registry(HubDatabase(path))
    for name in ("c", "b", "a", "gone"):
        registry.add(Device(name))
    registry.add(Device("a", "m", thumbprints=("AB", "CD"), managed_by="me"))
    registry.add(Device("d", edge=True, parent=None))
    registry.add(Device("e", authentication="certificateAuthority", parent="d"))
    registry.update(Device("b", primary_key=KEY, enabled=False, status_reason="in repair"))
    registry.remove("gone")
    again = Registry(HubDatabase(path))
    assert list(again) == list(registry)
    assert [device.client_id for device in again] == ["c", "b", "a", "a/m", "d", "e"]
    assert again.get("b") == Device("b", primary_key=KEY, enabled=False, status_reason="in repair")
    for device in registry:
        kept = again.get(device.device_id, device.module_id)
        expected = (device.generation_id, device.etag, device.status_updated)
        assert (kept.generation_id, kept.etag, kept.status_updated) == expected
    assert [module.module_id for module in again.modules("a")] == ["m"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"more": 1, "device_id": "a"}', '{"device_id": "a", "authentication": "faith"}', '"text"']
)
def test_entry_that_is_no_device_is_refused_and_left_alone(tmp_path, body):
    """One clear error that quotes nothing of the file, which holds keys."""
    database = HubDatabase(tmp_path / "hub.db")
    Registry(database).add(Device("press", primary_key=KEY))
    database.write([("device", "press", body)])
    with pytest.raises(StoreError, match=r"an entry of the registry cannot be read: (Type|Key|Value)Error") as error:
        Registry(database)
    assert "it was not changed" in error.value.hint
    assert database.load("device") == {"press": json.loads(body)}


def test_module_without_its_device_in_the_file_is_unknown(tmp_path):
    """A file that somebody has edited must not break a CONNECT."""
    database = HubDatabase(tmp_path / "hub.db")
    registry = Registry(database)
    registry.add(Device("press"))
    registry.add(Device("press", "filter"))
    database.keep("device", "press", None)
    assert Registry(database).service_identity("press/filter") is None
    assert Registry(database).in_scope("press/filter") is None


def test_registry_that_cannot_be_written_changes_nothing(keeper):
    """StoreError from each kind of change; memory is as before, and goes on once there is room."""
    registry = Registry(keeper, edge_device_id="gw")
    device = registry.add(Device("press"))
    registry.add(Device("press", "filter"))
    before = list(registry)
    keeper.full = True
    for change in (
        lambda: registry.add(Device("new")),
        lambda: registry.update(dataclasses.replace(device, enabled=False)),
        lambda: registry.remove("press"),
        lambda: registry.remove("gw"),
    ):
        with pytest.raises(StoreError):
            change()
        assert [(one, one.etag) for one in registry] == [(one, one.etag) for one in before]
    keeper.full = False
    assert registry.remove("press") == ("press/filter", "press")


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
    inside = {"gw", "gw/$edgeHub", "leaf", "leaf/m", "lower", "lower/m", "lower-leaf", "lower-leaf/m"}
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
    path = HubDatabase(tmp_path / "hub.db")
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


def test_identity_json_has_the_status_with_its_reason_and_time():
    """The time is that of the last change between enabled and disabled, and never for one that has not changed."""
    clock = ManualClock(1_000.0)
    registry = Registry(now=clock.now)
    device = registry.add(Device("press", status_reason="new"))
    shown = registry.identity_json("press")
    assert (shown["statusReason"], shown["statusUpdatedTime"]) == ("new", "0001-01-01T00:00:00Z")
    registry.update(dataclasses.replace(device, enabled=False, status_reason="in repair"))
    clock.advance(60)
    registry.update(dataclasses.replace(device, enabled=False, status_reason="still"))
    shown = registry.identity_json("press")
    assert (shown["statusReason"], shown["statusUpdatedTime"]) == ("still", "1970-01-01T00:16:40.0000000Z")


def test_identity_json_of_a_module_has_what_a_module_has():
    """Its owner, and neither a status nor capabilities nor scopes."""
    registry = Registry()
    registry.add(Device("press"))
    module = registry.add(Device("press", "filter", managed_by="iotEdge"))
    assert registry.identity_json("press", "filter") == {
        "deviceId": "press",
        "moduleId": "filter",
        "managedBy": "iotEdge",
        "generationId": module.generation_id,
        "etag": module.etag,
        "authentication": {
            "type": "sas",
            "symmetricKey": {"primaryKey": module.primary_key, "secondaryKey": module.secondary_key},
            "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        },
    }


# -- what IoT Hub answers ----------------------------------------------------------------------------------------------


def refusal(act, *arguments, **named):
    """The status and the name of the error that something raises."""
    with pytest.raises(RegistryError) as error:
        act(*arguments, **named)
    assert error.value.status == error.value.code // 1000
    return error.value.status, error.value.code.name


def test_refusals_have_the_status_and_the_code_of_iot_hub(nested):
    """400 for what it does not take, 404 for what is not there, 409 for what is there already."""
    assert refusal(nested.add, Device("a b")) == (400, "ArgumentInvalid")
    assert refusal(nested.add, Device("new", primary_key="!")) == (400, "ArgumentInvalid")
    assert refusal(nested.add, Device("new", status_reason="x" * 129)) == (400, "ArgumentInvalid")
    assert refusal(nested.add, Device("new", status_reason="\ud800")) == (400, "ArgumentInvalid")
    assert refusal(nested.add, Device("new", thumbprints=("\ud800",))) == (400, "ArgumentInvalid")
    assert refusal(nested.add, Device("leaf", "new", managed_by="\ud800")) == (400, "ArgumentInvalid")
    assert refusal(nested.add, Device("leaf")) == (409, "DeviceAlreadyExists")
    assert refusal(nested.add, Device("leaf", "m")) == (409, "ModuleAlreadyExistsOnDevice")
    assert refusal(nested.add, Device("ghost", "m")) == (404, "DeviceNotFound")
    for act in (nested.update, lambda device: nested.remove(device.device_id, device.module_id)):
        assert refusal(act, Device("ghost")) == (404, "DeviceNotFound")
        assert refusal(act, Device("ghost", "m")) == (404, "DeviceNotFound")
        assert refusal(act, Device("leaf", "ghost")) == (404, "ModuleNotFound")


@pytest.mark.parametrize("condition", [None, "*", '"*"', "{}", '"{}"'])
def test_change_goes_through_while_its_etag_holds(condition):
    """Without If-Match, with the wildcard or with the ETag, each with or without quotes, an update and a removal."""
    registry = Registry()
    device = registry.add(Device("press"))
    updated = registry.update(device, etag=condition and condition.format(device.etag))
    assert updated.etag != device.etag
    assert registry.get("press") is updated
    assert registry.remove("press", etag=condition and condition.format(updated.etag)) == ("press",)


def test_change_of_something_that_has_changed_is_refused():
    """412 with the ETag of before, and nothing changes; the same for a removal."""
    registry = Registry()
    before = registry.add(Device("press"))
    now = registry.update(before)
    for act in (lambda: registry.update(before, etag=before.etag), lambda: registry.remove("press", etag=before.etag)):
        assert refusal(act) == (412, "PreconditionFailed")
        assert registry.get("press") is now
    assert refusal(registry.update, Device("ghost"), etag="*") == (404, "DeviceNotFound")


def test_update_without_keys_makes_them():
    """A device that changes over to keys, and one whose owner asks for new ones, gets both."""
    registry = Registry()
    first = registry.add(Device("press", thumbprints=("AB",)))
    second = registry.update(Device("press"))
    third = registry.update(Device("press"))
    assert (first.primary_key, len({second.primary_key, second.secondary_key, third.primary_key})) == ("", 3)


def test_modules_of_a_device_are_listed_in_order():
    """Those that are gone are not."""
    registry = Registry()
    registry.add(Device("press"))
    for name in ("c", "a", "b"):
        registry.add(Device("press", name))
    registry.remove("press", "a")
    assert [module.module_id for module in registry.modules("press")] == ["c", "b"]
    assert registry.modules("ghost") == ()


# -- scopes as the REST API has them -----------------------------------------------------------------------------------


def scope_of(registry, device_id):
    """The device scope of an edge device."""
    return device_scope(device_id, registry.get(device_id).generation_id)


def test_parent_is_found_by_its_scope(nested):
    """A leaf's deviceScope, or parentScopes, or both; an edge device's parentScopes beside its own scope."""
    gateway, lower = scope_of(nested, "gw"), scope_of(nested, "lower")
    find = nested.scopes.parent_of
    assert find(Device("new"), lower) == "lower"
    assert find(Device("new"), lower, [lower]) == find(Device("new"), None, [lower]) == "lower"
    assert find(Device("new"), None) is find(Device("new"), "") is None
    assert find(Device("new", edge=True), None, [gateway]) == "gw"
    assert find(Device("lower", edge=True), lower, [gateway]) == "gw"
    assert find(Device("lower", edge=True), lower) is None
    child = nested.add(Device("new", parent=find(Device("new"), lower)))
    assert nested.identity_json(child.device_id)["parentScopes"] == [lower]


@pytest.mark.parametrize(
    "scope",
    ["nonsense", "ms-azure-iot-edge://ghost-1", "ms-azure-iot-edge://lower-600", "ms-azure-iot-edge://leaf-{leaf}",
     "{lower}", "MS-AZURE-IOT-EDGE://lower-{lower}", "ms-azure-iot-edge://lower", "ms-azure-iot-edge://-"],
)  # fmt: skip
def test_scope_that_no_edge_device_has_is_refused(nested, scope):
    """Random text, an unknown device, another generation, a device that is no edge device: 400."""
    scope = scope.format(lower=nested.get("lower").generation_id, leaf=nested.get("leaf").generation_id)
    assert refusal(nested.scopes.parent_of, Device("new"), scope) == (400, "ArgumentInvalid")
    assert refusal(nested.scopes.parent_of, Device("new", edge=True), None, [scope]) == (400, "ArgumentInvalid")
    assert refusal(nested.scopes.parent_of, Device("lower", edge=True), scope) == (400, "ArgumentInvalid")


def test_device_has_one_parent_and_not_itself(nested):
    """Two scopes that differ are refused, and so is an edge device below itself."""
    scopes = [scope_of(nested, "gw"), scope_of(nested, "lower")]
    assert refusal(nested.scopes.parent_of, Device("new"), *scopes[:1], scopes[1:]) == (400, "ArgumentInvalid")
    assert refusal(nested.update, Device("lower", edge=True, parent="lower")) == (400, "ArgumentInvalid")


def test_children_of_an_edge_device_that_is_gone_have_no_parent(nested):
    """Also after it is registered anew, since its scope is another one then; the same for the gateway's own device."""
    nested.remove("lower")
    nested.add(Device("lower", edge=True))
    assert nested.get("lower-leaf").parent is None
    assert nested.in_scope("lower-leaf") is None
    nested.remove("gw")
    nested.add(Device("gw", edge=True, parent=None))
    assert [identity.client_id for identity in nested.scope()] == ["gw"]
