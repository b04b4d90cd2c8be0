"""Digital twins, with the documentation's temperature controller."""

import pytest

from gateway import ManualClock
from gateway.errors import ServiceError
from gateway.upstream.digitaltwins import command_name
from tests.gateway.upstream.hubs import make_hub

MODEL = "dtmi:com:example:TemperatureController;1"
MOMENT = "2023-11-14T22:13:20.000000Z"
REPORTED = {
    "serialNumber": "alwinexlepaho8329",
    "thermostat1": {
        "__t": "c",
        "maxTempSinceLastReboot": 25.3,
        "targetTemperature": {"value": 20.4, "ac": 200, "av": 2, "ad": "Successfully executed patch"},
    },
}


@pytest.fixture
def hub():
    """A hub with a device that has reported, and whose target temperature is wanted."""
    hub, _ = make_hub(ManualClock(1_700_000_000.0), devices=["controller", "plain"])
    hub.uplink.connected("controller", MODEL)
    hub.twins.update_desired("controller", {"thermostat1": {"__t": "c", "targetTemperature": 20.4}})
    hub.twins.update_reported("controller", REPORTED)
    return hub


def patched(hub, *operations, if_match=None):
    """Apply a patch; the desired properties then."""
    hub.management.digital_twins.update("controller", list(operations), if_match)
    return hub.twins.get("controller").desired


def refused(hub, *operations, **options):
    """Status and code of what a patch is refused with; nothing has changed."""
    before = hub.twins.get("controller")
    with pytest.raises(ServiceError) as error:
        patched(hub, *operations, **options)
    assert hub.twins.get("controller") is before
    return error.value.status, error.value.code


def operation(op, path, value=None):
    """One operation of a JSON Patch."""
    return {"op": op, "path": path} | ({} if op == "remove" else {"value": value})


def test_digital_twin_of_the_documentation(hub):
    """Values as reported; what is wanted and acknowledged is in $metadata, the model in the root's."""
    document, etag = hub.management.digital_twins.document("controller")
    assert document == {
        "$dtId": "controller",
        "serialNumber": "alwinexlepaho8329",
        "thermostat1": {
            "maxTempSinceLastReboot": 25.3,
            "targetTemperature": 20.4,
            "$metadata": {
                "targetTemperature": {
                    "desiredValue": 20.4,
                    "desiredVersion": 2,
                    "ackVersion": 2,
                    "ackCode": 200,
                    "ackDescription": "Successfully executed patch",
                    "lastUpdateTime": MOMENT,
                },
                "maxTempSinceLastReboot": {"lastUpdateTime": MOMENT},
            },
        },
        "$metadata": {"$model": MODEL, "serialNumber": {"lastUpdateTime": MOMENT}},
    }
    assert etag == hub.twins.get("controller").etag


def test_writable_property_of_the_root(hub):
    """The documentation's fan: reported 3.0, wanted 2.0."""
    hub.twins.update_desired("plain", {"fanSpeed": 2.0})
    hub.twins.update_reported("plain", {"fanSpeed": {"value": 3.0, "ac": 200, "av": 1}})
    document, _ = hub.management.digital_twins.document("plain")
    state = {"desiredValue": 2.0, "desiredVersion": 2, "ackVersion": 1, "ackCode": 200, "lastUpdateTime": MOMENT}
    assert document == {"$dtId": "plain", "fanSpeed": 3.0, "$metadata": {"$model": "", "fanSpeed": state}}


def test_property_that_is_only_wanted_has_no_value(hub):
    """Nor a component of which nothing was reported."""
    hub.twins.update_desired("plain", {"fan": 1, "box": {"__t": "c", "light": True}})
    document, _ = hub.management.digital_twins.document("plain")
    assert document == {
        "$dtId": "plain",
        "box": {"$metadata": {"light": {"desiredValue": True, "desiredVersion": 2}}},
        "$metadata": {"$model": "", "fan": {"desiredValue": 1, "desiredVersion": 2}},
    }


def test_unknown_device(hub):
    """404 for reading and for changing."""
    twins = hub.management.digital_twins
    for action in (lambda: twins.document("nobody"), lambda: twins.update("nobody", []), lambda: twins.check("nobody")):
        with pytest.raises(ServiceError) as error:
            action()
        assert (error.value.status, error.value.code) == (404, "DeviceNotFound")


def test_patch_of_a_property_sets_its_desired_value(hub):
    """In a component, which is marked, or in the root; the ETag is the twin's new one."""
    assert patched(hub, operation("add", "/thermostat1/targetTemperature", 21.4)) == {
        "thermostat1": {"__t": "c", "targetTemperature": 21.4}
    }
    assert patched(hub, operation("replace", "/serialNumber", "new"))["serialNumber"] == "new"
    assert patched(hub, operation("add", "/fan", {"speed": 1}))["fan"] == {"speed": 1}
    etag = hub.management.digital_twins.update("controller", [operation("remove", "/fan")])
    assert etag == hub.twins.get("controller").etag
    assert "fan" not in hub.twins.get("controller").desired


def test_patch_of_a_component_sets_it_whole(hub):
    """What the patch does not name is wanted no more."""
    hub.twins.update_desired("controller", {"thermostat1": {"other": 1}})
    value = {"targetTemperature": 21.4, "anotherWritableProperty": 42, "$metadata": {}}
    assert patched(hub, operation("replace", "/thermostat1", value)) == {
        "thermostat1": {"__t": "c", "targetTemperature": 21.4, "anotherWritableProperty": 42}
    }
    new = {"targetTemperature": 5, "$metadata": {}}
    assert patched(hub, operation("add", "/thermostat2", new))["thermostat2"] == {"__t": "c", "targetTemperature": 5}
    assert patched(hub, operation("remove", "/thermostat2"), operation("remove", "/thermostat1")) == {}


def test_component_without_any_desired_value_is_gone(hub):
    """Removing its last property removes it."""
    assert patched(hub, operation("remove", "/thermostat1/targetTemperature")) == {}


def test_operations_follow_one_another(hub):
    """A component may be added and then changed."""
    new = {"a": 1, "$metadata": {}}
    assert patched(hub, operation("add", "/box", new), operation("add", "/box/b", 2))["box"] == {
        "__t": "c",
        "a": 1,
        "b": 2,
    }


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([], "InvalidDigitalTwinPatch"),
        ([operation("move", "/serialNumber", "x")], "InvalidDigitalTwinPatch"),
        ([operation("test", "/serialNumber", "x")], "InvalidDigitalTwinPatch"),
        ([{"op": "add", "path": "/serialNumber"}], "InvalidDigitalTwinPatch"),
        ([operation("replace", "/nothing", 1)], "InvalidDigitalTwinPatch"),
        ([operation("remove", "/nothing")], "InvalidDigitalTwinPatch"),
        ([operation("add", "/thermostat9/x", 1)], "InvalidDigitalTwinPatch"),
        ([operation("add", "/serialNumber/x", 1)], "InvalidDigitalTwinPatch"),
        ([operation("add", "/thermostat1/inner", {"$metadata": {}})], "InvalidDigitalTwinPatch"),
        ([operation("add", "/box", {"$metadata": {"a": 1}})], "InvalidDigitalTwinPatch"),
        (["add"], "InvalidDigitalTwinPatch"),
        ([operation("replace", "/thermostat1", 5)], "InvalidDigitalTwinPatch"),
        ([operation("replace", "/thermostat1", {"targetTemperature": 5})], "InvalidDigitalTwinPatch"),
        ([operation("add", "", {})], "InvalidDigitalTwinPatchPath"),
        ([operation("add", "serialNumber", 1)], "InvalidDigitalTwinPatchPath"),
        ([operation("add", "/a/b/c", 1)], "InvalidDigitalTwinPatchPath"),
        ([operation("add", "/$metadata", 1)], "InvalidDigitalTwinPatchPath"),
        ([operation("add", "/a_", 1)], "InvalidDigitalTwinPatchPath"),
        ([{"op": "add", "value": 1}], "InvalidDigitalTwinPatchPath"),
        ([operation("add", "/list", [1])], "ArgumentInvalid"),
        ([operation("add", "/nothing", None)], "ArgumentInvalid"),
        ([operation("add", "/map", {"not a name": 1})], "ArgumentInvalid"),
        ([operation("add", "/deep", {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}})], "ArgumentInvalid"),
        ([operation("add", "/long", "x" * 5_000)], "ArgumentInvalid"),
        ([operation("add", "/good", 1), operation("add", "/list", [1])], "ArgumentInvalid"),
    ],
    ids=lambda one: str(one)[:60],
)
def test_patch_that_is_refused(hub, operations, code):
    """All or nothing, with IoT Hub's code."""
    assert refused(hub, *operations) == (400, code)


def test_patch_that_is_no_list(hub):
    """A merge patch is none."""
    with pytest.raises(ServiceError) as error:
        hub.management.digital_twins.update("controller", {"a": 1})
    assert (error.value.status, error.value.code) == (400, "InvalidDigitalTwinPatch")


def test_patch_with_an_etag(hub):
    """The twin's own, with or without quotes, or the wildcard; another one is refused."""
    assert refused(hub, operation("add", "/x", 1), if_match='"AAAAAAAAAAk="') == (412, "PreconditionFailed")
    assert patched(hub, operation("add", "/x", 1), if_match=f'"{hub.twins.get("controller").etag}"')["x"] == 1
    assert patched(hub, operation("add", "/x", 2), if_match='"*"')["x"] == 2


def test_commands_are_methods():
    """That of a component has the component's name in front."""
    assert command_name("reboot") == "reboot"
    assert command_name("getMaxMinReport", "thermostat1") == "thermostat1*getMaxMinReport"


def test_model_is_that_of_the_last_connection(hub):
    """It is kept while the device is away, ends with a connection that names none, and with the device."""
    twins = hub.management.digital_twins
    assert twins.document("controller")[0]["$metadata"]["$model"] == MODEL
    assert hub.management.queries.page(f"SELECT deviceId FROM devices WHERE modelId = '{MODEL}'").items == [
        {"deviceId": "controller"}
    ]
    hub.uplink.connected("controller", None)
    assert twins.document("controller")[0]["$metadata"]["$model"] == ""
    hub.uplink.connected("controller", MODEL)
    hub.online = False
    hub.uplink.connected("plain", MODEL)
    assert twins.document("plain")[0]["$metadata"]["$model"] == ""
    hub.remove("controller")
    assert hub.management.models.get("controller") == ""
