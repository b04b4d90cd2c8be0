"""What configurations do to twins."""

import pytest

from gateway import ManualClock
from gateway.errors import ServiceError
from gateway.upstream.deployments import PASS_SECONDS
from gateway.upstream.device import Device
from tests.gateway.upstream.hubs import EDGE, make_hub

ROUTE = "FROM /messages/* WHERE temperature > 30 INTO $upstream"
BASE = {
    "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {"camera": {"type": "docker"}}}},
    "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"all": "FROM /* INTO $upstream"}}},
}
LAYER = {
    "$edgeAgent": {"properties.desired.modules.filter": {"type": "docker"}},
    "$edgeHub": {"properties.desired.routes.hot": ROUTE},
}


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def hub(clock):
    """A hub with an edge device and two others."""
    return make_hub(clock, devices=["a", "b"])[0]


def put(hub, config_id, content, condition="*", *, priority=0, if_match=None):
    """Create or update a configuration; what kind of content it is shows."""
    kind = "modulesContent" if "$edgeAgent" in content else "deviceContent"
    body = {"content": {kind: content}, "targetCondition": condition, "priority": priority}
    hub.management.configurations.put(config_id, body, if_match)


def routes(hub):
    """The routes that the edge device has."""
    return hub.twins.get(f"{EDGE}/$edgeHub").desired.get("routes")


def status(hub, client_id):
    """The status of configurations that the query language sees."""
    device_id, _, module_id = client_id.partition("/")
    source = f"devices.modules WHERE moduleId = '{module_id}' AND" if module_id else "devices WHERE"
    (twin,) = hub.management.queries.page(f"SELECT * FROM {source} deviceId = '{device_id}'").items
    return {name: one["status"] for name, one in twin.get("configurations", {}).items()}


# -- one edge device -------------------------------------------------------------------------------------------------


def test_set_modules_sets_the_twins_of_modules(hub):
    """`az iot edge set-modules`: twins are as the content says, and the modules are registered."""
    hub.twins.update_desired(f"{EDGE}/$edgeHub", {"routes": {"old": ROUTE}, "left": 1})
    hub.management.deployments.apply_content(EDGE, {"modulesContent": BASE})
    assert hub.twins.get(f"{EDGE}/$edgeHub").desired == BASE["$edgeHub"]["properties.desired"]
    assert hub.twins.get(f"{EDGE}/$edgeAgent").desired == BASE["$edgeAgent"]["properties.desired"]
    assert [hub.registry.get(EDGE, name) is not None for name in ("$edgeAgent", "$edgeHub", "camera")] == [True] * 3


def test_set_modules_again_changes_nothing(hub):
    """A twin that is as it should be keeps its version."""
    hub.management.deployments.apply_content(EDGE, {"modulesContent": BASE})
    version = hub.twins.get(f"{EDGE}/$edgeHub").desired_version
    hub.management.deployments.apply_content(EDGE, {"modulesContent": BASE})
    assert hub.twins.get(f"{EDGE}/$edgeHub").desired_version == version


@pytest.mark.parametrize(
    ("device_id", "content", "expected"),
    [
        ("nobody", {"modulesContent": BASE}, (404, "DeviceNotFound")),
        ("a", {"modulesContent": BASE}, (400, "ArgumentInvalid")),
        (EDGE, {"deviceContent": {"properties.desired.a": 1}}, (400, "InvalidConfigurationContent")),
        (EDGE, {}, (400, "InvalidConfigurationContent")),
        (
            EDGE,
            {"modulesContent": BASE | {"m": {"properties.desired": {"a.b": 1}}}},
            (400, "InvalidConfigurationContent"),
        ),
        (
            EDGE,
            {"modulesContent": BASE | {"m": {"properties.desired": {"a": ["x" * 4_000] * 9}}}},
            (400, "InvalidConfigurationContent"),
        ),
    ],
    ids=lambda one: str(one)[:30],
)
def test_set_modules_that_is_refused(hub, device_id, content, expected):
    """Nothing is changed then, not even what comes before what is wrong."""
    with pytest.raises(ServiceError) as refused:
        hub.management.deployments.apply_content(device_id, content)
    assert (refused.value.status, refused.value.code) == expected
    assert hub.twins.get(f"{EDGE}/$edgeHub").desired == {}
    assert hub.registry.get(EDGE, "m") is None


# -- edge deployments ------------------------------------------------------------------------------------------------


def test_deployment_applies_to_edge_devices_that_it_targets(hub):
    """Not to others with the same tags; its status shows with the modules."""
    for device_id in (EDGE, "a"):
        hub.twins.update_tags(device_id, {"site": "munich"})
    put(hub, "base", BASE, "tags.site = 'munich'")
    assert routes(hub) == {"all": "FROM /* INTO $upstream"}
    assert status(hub, f"{EDGE}/$edgeAgent") == {"base": "Applied"}
    assert hub.registry.get("a", "$edgeHub") is None


def test_highest_priority_wins_and_the_younger_among_equals(hub, clock):
    """The others are only targeted."""
    for number, (config_id, priority) in enumerate([("high", 5), ("low", 1), ("young", 5)]):
        other = BASE | {"$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {config_id: ROUTE}}}}
        put(hub, config_id, other, priority=priority)
        clock.advance(number + 1)
        assert list(routes(hub)) == [["high"], ["high"], ["young"]][number]
    assert status(hub, f"{EDGE}/$edgeHub") == {"high": "Targeted", "low": "Targeted", "young": "Applied"}


def test_deleting_a_deployment_lets_the_next_one_apply(hub):
    """The last one leaves the modules as they are."""
    put(hub, "first", BASE, priority=1)
    other = BASE | {"$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"second": ROUTE}}}}
    put(hub, "second", other, priority=2)
    assert list(routes(hub)) == ["second"]
    hub.management.configurations.delete("second")
    assert list(routes(hub)) == ["all"]
    hub.management.configurations.delete("first")
    assert list(routes(hub)) == ["all"]
    assert status(hub, f"{EDGE}/$edgeHub") == {}


def test_another_target_condition_or_priority_takes_effect_at_once(hub):
    """As an update of the configuration."""
    put(hub, "base", BASE, "tags.site = 'graz'")
    assert routes(hub) is None
    put(hub, "base", BASE, "*", if_match="*")
    assert list(routes(hub)) == ["all"]
    other = BASE | {"$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"other": ROUTE}}}}
    put(hub, "other", other, priority=3)
    put(hub, "base", BASE, "*", priority=4, if_match="*")
    assert list(routes(hub)) == ["all"]


def test_tags_bring_a_device_under_a_deployment_and_out_of_it(hub):
    """At once, without another pass."""
    put(hub, "base", BASE, "tags.site = 'munich'", priority=1)
    other = BASE | {"$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"graz": ROUTE}}}}
    put(hub, "other", other, "tags.site = 'graz'", priority=1)
    assert routes(hub) is None
    hub.twins.update_tags(EDGE, {"site": "munich"})
    assert (list(routes(hub)), status(hub, f"{EDGE}/$edgeHub")) == (["all"], {"base": "Applied"})
    hub.twins.update_tags(EDGE, {"site": "graz"})
    assert (list(routes(hub)), status(hub, f"{EDGE}/$edgeHub")) == (["graz"], {"other": "Applied"})
    hub.twins.update_tags(EDGE, None)
    assert (list(routes(hub)), status(hub, f"{EDGE}/$edgeHub")) == (["graz"], {})


def test_layered_deployments_go_on_top_of_a_base_one(hub):
    """Those above it, in the order of priority; without one, or below it, they do nothing."""
    put(hub, "layer", LAYER, priority=5)
    assert (routes(hub), status(hub, EDGE)) == (None, {})
    put(hub, "base", BASE, priority=1)
    assert routes(hub) == {"all": "FROM /* INTO $upstream", "hot": ROUTE}
    assert set(hub.twins.get(f"{EDGE}/$edgeAgent").desired["modules"]) == {"camera", "filter"}
    top = {"$edgeAgent": {"properties.desired.modules.top": {}}, "$edgeHub": {"properties.desired.routes.hot": "X"}}
    put(hub, "top", top, priority=9)
    put(hub, "below", top | {"$edgeHub": {"properties.desired.routes.below": "Y"}}, priority=0)
    assert routes(hub) == {"all": "FROM /* INTO $upstream", "hot": "X"}
    assert status(hub, f"{EDGE}/$edgeHub") == {
        "base": "Applied", "layer": "Applied", "top": "Applied", "below": "Targeted",
    }  # fmt: skip
    hub.management.configurations.delete("layer")
    hub.management.configurations.delete("top")
    assert routes(hub) == {"all": "FROM /* INTO $upstream"}


def test_metrics_of_a_deployment(hub):
    """Applied, and reported as successful or failed by the agent for the version it is to have."""
    put(hub, "base", BASE)
    agent = f"{EDGE}/$edgeAgent"
    version = hub.twins.get(agent).desired_version

    def results():
        return hub.management.configurations.document("base")["systemMetrics"]["results"]

    assert results() == {"targetedCount": 1, "appliedCount": 1, "reportedSuccessfulCount": 0, "reportedFailedCount": 0}
    hub.twins.update_reported(agent, {"lastDesiredVersion": version, "lastDesiredStatus": {"code": 200}})
    assert (results()["reportedSuccessfulCount"], results()["reportedFailedCount"]) == (1, 0)
    hub.twins.update_reported(agent, {"lastDesiredStatus": {"code": 412}})
    assert (results()["reportedSuccessfulCount"], results()["reportedFailedCount"]) == (0, 1)


# -- device and module configurations --------------------------------------------------------------------------------


def test_device_configuration_sets_a_section(hub):
    """Of the devices that it targets; other properties stay, what stood in the section does not."""
    hub.twins.update_desired("a", {"keep": 1, "water": {"old": 1}})
    hub.twins.update_tags("a", {"site": "munich"})
    put(
        hub,
        "chiller",
        {"properties.desired.water": {"temperature": 38}, "properties.desired.deep.er": 5},
        "tags.site='munich'",
    )
    assert hub.twins.get("a").desired == {"keep": 1, "water": {"temperature": 38}, "deep": {"er": 5}}
    assert hub.twins.get("b").desired == {}
    assert status(hub, "a") == {"chiller": "Applied"}


def test_devices_are_told_only_the_difference(clock):
    """As a patch, with null for what is taken away."""
    hub, below = make_hub(clock, devices=["a"])
    put(hub, "one", {"properties.desired.x": {"a": 1, "b": 2}}, "deviceId='a'")
    put(hub, "two", {"properties.desired.x": {"a": 1}}, "deviceId='a'", priority=1)
    assert below.told == [("a", {"x": {"a": 1, "b": 2}}, 2), ("a", {"x": {"b": None}}, 3)]


def test_sections_of_several_configurations_merge_and_the_higher_priority_wins(hub):
    """One that sets nothing that stays is only targeted."""
    put(hub, "low", {"properties.desired.x": 1, "properties.desired.y": 1}, "deviceId='a'", priority=1)
    put(hub, "high", {"properties.desired.x": 2}, "deviceId='a'", priority=2)
    assert hub.twins.get("a").desired == {"x": 2, "y": 1}
    assert status(hub, "a") == {"low": "Applied", "high": "Applied"}
    put(hub, "top", {"properties.desired.x": 3, "properties.desired.y": 3}, "deviceId='a'", priority=3)
    assert hub.twins.get("a").desired == {"x": 3, "y": 3}
    assert status(hub, "a") == {"low": "Targeted", "high": "Targeted", "top": "Applied"}


def test_settings_are_removed_when_nobody_sets_them_any_more(hub):
    """By tags, by another condition, by deletion; the next configuration takes over."""
    hub.twins.update_desired("a", {"keep": {"this": 1}})
    put(hub, "low", {"properties.desired.x": 1}, "tags.site='munich'", priority=1)
    put(hub, "high", {"properties.desired.x": 2, "properties.desired.keep.that": 2}, "tags.site='munich'", priority=2)
    hub.twins.update_tags("a", {"site": "munich"})
    assert hub.twins.get("a").desired == {"keep": {"this": 1, "that": 2}, "x": 2}
    hub.management.configurations.delete("high")
    assert hub.twins.get("a").desired == {"keep": {"this": 1}, "x": 1}
    hub.twins.update_tags("a", {"site": "graz"})
    assert hub.twins.get("a").desired == {"keep": {"this": 1}}
    assert status(hub, "a") == {}


def test_null_in_a_configuration_removes_a_property(hub):
    """As the documentation says."""
    hub.twins.update_desired("a", {"x": 1, "y": {"z": 1, "k": 2}})
    put(hub, "one", {"properties.desired.x": None, "properties.desired.y.z": None}, "deviceId='a'")
    assert hub.twins.get("a").desired == {"y": {"k": 2}}


def test_what_a_twin_cannot_hold_is_only_targeted(hub):
    """The twin stays as it is."""
    put(hub, "big", {"properties.desired.x": ["y" * 4_000] * 9}, "deviceId='a'")
    assert (hub.twins.get("a").desired, status(hub, "a")) == ({}, {"big": "Targeted"})


def test_module_configuration(hub):
    """It targets modules, on any device."""
    for device_id in ("a", "b"):
        hub.registry.add(Device(device_id, "camera"))
    hub.twins.update_tags("a/camera", {"building": 9})
    body = {
        "content": {"moduleContent": {"properties.desired.zoom": 2}},
        "targetCondition": "from devices.modules where tags.building=9",
    }
    hub.management.configurations.put("zoom", body)
    assert (hub.twins.get("a/camera").desired, hub.twins.get("b/camera").desired) == ({"zoom": 2}, {})
    assert status(hub, "a/camera") == {"zoom": "Applied"}
    assert hub.management.configurations.document("zoom")["systemMetrics"]["results"] == {
        "targetedCount": 1, "appliedCount": 1,
    }  # fmt: skip


# -- time ------------------------------------------------------------------------------------------------------------


def test_reported_properties_take_effect_with_the_next_pass(hub, clock):
    """Every five minutes."""
    put(hub, "old", {"properties.desired.update": True}, "properties.reported.firmware = '1.0'")
    hub.twins.update_reported("a", {"firmware": "1.0"})
    clock.advance(PASS_SECONDS - 1)
    hub.tick()
    assert hub.twins.get("a").desired == {}
    clock.advance(1)
    hub.tick()
    assert hub.twins.get("a").desired == {"update": True}


def test_new_device_is_found_at_the_next_tick(hub):
    """A configuration for all devices is for those to come, too."""
    put(hub, "all", {"properties.desired.x": 1})
    hub.registry.add(Device("c"))
    hub.tick()
    assert hub.twins.get("c").desired == {"x": 1}


def test_deleted_device_starts_anew(hub):
    """Nothing is remembered for the id."""
    put(hub, "one", {"properties.desired.x": 1}, "tags.a = 1")
    hub.twins.update_tags("a", {"a": 1})
    hub.remove("a")
    hub.registry.add(Device("a"))
    hub.tick()
    assert (hub.twins.get("a").desired, status(hub, "a")) == ({}, {})


def test_settings_are_removed_after_a_restart_as_well(clock):
    """What was set by configurations is kept; a configuration deleted since has left nothing behind."""
    kept = {}

    def keep(kind, key, document):
        kept.setdefault(kind, {}).pop(key, None)
        if document is not None:
            kept[kind][key] = document

    hub, _ = make_hub(clock, devices=["a"], keep=keep)
    put(hub, "one", {"properties.desired.x": {"y": 1}}, "deviceId='a'")
    again, _ = make_hub(clock, devices=["a"])
    again.twins.update_desired("a", {"x": {"y": 1}, "z": 1})
    again.management.load(kept)
    assert status(again, "a") == {"one": "Applied"}
    again.management.configurations.delete("one")
    assert again.twins.get("a").desired == {"z": 1}
