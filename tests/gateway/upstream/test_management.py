"""What outlives the hub of queries, configurations, jobs and models; and what becomes of them on a full disk."""

import logging

import pytest

from gateway import ManualClock, StoreError
from gateway.hub.methods import MethodResult
from tests.gateway.upstream.hubs import EDGE, make_hub

DEVICES = ["a", "b", "c"]
SET = {"content": {"deviceContent": {"properties.desired.x": {"y": 1}}}, "targetCondition": "tags.site = 'munich'"}
TAG = {"type": "scheduleUpdateTwin", "updateTwin": {"tags": {"k": 1}}, "queryCondition": "*"}
REBOOT = {
    "type": "scheduleDeviceMethod",
    "cloudToDeviceMethod": {"methodName": "reboot"},
    "queryCondition": "deviceId IN ['a', 'b', 'c']",
}


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def fleet(clock, keeper):
    """A hub that keeps what it knows, with three devices that are connected."""
    hub, below = make_hub(clock, keeper=keeper, devices=DEVICES)
    assert hub.open() is not None
    below.connected = set(DEVICES)
    return hub, below


def reopened(hub, clock, keeper):
    """The next hub that has the same file."""
    hub.close()
    again, _ = make_hub(clock, keeper=keeper)
    again.open()
    return again


def status(hub):
    """The status of configurations of device a."""
    (twin,) = hub.management.queries.page("SELECT * FROM devices WHERE deviceId = 'a'").items
    return twin.get("configurations")


def test_everything_is_there_after_a_restart(fleet, clock, keeper):
    """Configurations with what they have set, jobs with their parts, and models."""
    hub, below = fleet
    hub.management.configurations.put("one", SET)
    hub.twins.update_tags("a", {"site": "munich"})
    hub.management.jobs.create("over", TAG)
    hub.tick()
    hub.management.jobs.create("later", TAG | {"startTime": "2023-11-14T22:14:20Z"})
    hub.management.jobs.create("running", REBOOT)
    hub.uplink.connected("a", "dtmi:com:example:Thermostat;1")
    hub.tick()
    below.calls[0][1](MethodResult(200, b"1"))
    before = [hub.management.jobs.document(name) for name in ("over", "later")]
    configuration = hub.management.configurations.document("one")
    again = reopened(hub, clock, keeper)
    assert [again.management.jobs.document(name) for name in ("over", "later")] == before
    assert again.management.configurations.document("one") == configuration
    assert status(again) == {"one": {"status": "Applied"}}
    assert again.management.models.get("a") == "dtmi:com:example:Thermostat;1"
    parts = again.management.queries.page("SELECT * FROM devices.jobs WHERE jobId = 'running'").items
    assert [(part["deviceId"], part["status"]) for part in parts] == [
        ("a", "completed"),
        ("b", "failed"),
        ("c", "failed"),
    ]
    again.management.configurations.delete("one")
    assert again.twins.get("a").desired == {}


def test_deleted_device_leaves_nothing(fleet, clock, keeper):
    """Its id registered anew has neither model nor settings to be taken away, also after a restart."""
    hub, _ = fleet
    hub.management.configurations.put("one", SET)
    hub.twins.update_tags("a", {"site": "munich"})
    hub.uplink.connected("a", "dtmi:com:example:Thermostat;1")
    hub.tick()
    assert (keeper.load("model"), keeper.load("configured")) != ({}, {})
    hub.remove("a")
    assert (keeper.load("model"), keeper.load("configured")) == ({}, {})
    assert reopened(hub, clock, keeper).management.models.get("a") == ""


def test_full_disk_refuses_what_cannot_be_kept(fleet, keeper):
    """Neither configuration nor job is there then, and one that is there stays."""
    hub, _ = fleet
    hub.management.configurations.put("one", SET)
    hub.management.jobs.create("j", TAG | {"startTime": "2023-11-15T00:00:00Z"})
    keeper.full = True
    for action in (
        lambda: hub.management.configurations.put("two", SET),
        lambda: hub.management.configurations.put("one", SET | {"priority": 5}, "*"),
        lambda: hub.management.configurations.delete("one"),
        lambda: hub.management.jobs.create("k", TAG),
        lambda: hub.management.jobs.cancel("j"),
    ):
        with pytest.raises(StoreError):
            action()
    assert [(one["id"], one["priority"]) for one in hub.management.configurations.documents()] == [("one", 0)]
    assert [hub.management.jobs.document(name)["status"] for name in ("j", "k")] == ["scheduled", "unknown"]


def test_full_disk_keeps_no_job_from_going_on(fleet, clock, keeper, caplog):
    """What is learnt meanwhile is kept once there is room; it is logged once."""
    hub, below = fleet
    hub.management.jobs.create("j", REBOOT)
    keeper.full = True
    with caplog.at_level(logging.ERROR):
        hub.tick()
        for _, answer in below.calls:
            answer(MethodResult(200, b""))
        hub.uplink.connected("a", "dtmi:com:example:Thermostat;1")
        hub.tick()
        hub.tick()
    assert hub.management.jobs.document("j")["status"] == "completed"
    assert len(caplog.records) == 1
    keeper.full = False
    hub.tick()
    again = reopened(hub, clock, keeper)
    assert again.management.jobs.document("j")["status"] == "completed"
    assert again.management.models.get("a") == "dtmi:com:example:Thermostat;1"


def test_part_whose_twin_cannot_be_kept_has_failed(fleet, keeper):
    """And the twin is as it was."""
    hub, _ = fleet
    hub.management.jobs.create("j", TAG)
    keeper.full = True
    hub.tick()
    job = hub.management.jobs.document("j")
    assert (job["status"], hub.twins.get("a").tags) == ("failed", {})
    parts = hub.management.queries.page("SELECT * FROM devices.jobs").items
    assert {part["error"]["code"] for part in parts} == {"ServerError"}


def test_job_is_kept_once_a_tick(fleet, keeper):
    """Not once for each device that answers."""
    hub, below = fleet
    hub.management.jobs.create("j", REBOOT)
    hub.tick()
    before = keeper.writes
    for _, answer in below.calls:
        answer(MethodResult(200, b""))
    assert keeper.writes == before
    hub.tick()
    assert keeper.writes == before + 1


def test_settings_that_could_not_be_kept_are_found_by_the_next_pass(fleet, clock, keeper):
    """Twins that took theirs are not changed again, and can be cleared after a restart."""
    hub, _ = fleet
    hub.twins.update_tags("a", {"site": "munich"})
    keep = keeper.keep
    keeper.keep = lambda kind, key, document: _full() if kind == "configured" else keep(kind, key, document)
    hub.management.deployments._keep = keeper.keep
    hub.management.configurations.put("one", SET)
    assert (hub.twins.get("a").desired, keeper.load("configured")) == ({"x": {"y": 1}}, {})
    hub.management.deployments._keep = keep
    hub.management.deployments.run()
    assert keeper.load("configured") == {"a": {"paths": [["x"]]}}
    assert hub.twins.get("a").desired_version == 2


def test_twins_of_a_full_disk_are_only_targeted(fleet, keeper):
    """Until there is room again."""
    hub, _ = fleet
    hub.management.configurations.put("one", SET | {"targetCondition": "properties.reported.old = true"})
    hub.twins.update_reported("a", {"old": True})
    keeper.full = True
    hub.management.deployments.run()
    assert (status(hub), hub.twins.get("a").desired) == ({"one": {"status": "Targeted"}}, {})
    keeper.full = False
    hub.management.deployments.run()
    assert (status(hub), hub.twins.get("a").desired) == ({"one": {"status": "Applied"}}, {"x": {"y": 1}})


def test_other_gateways_changes_are_read_before_anything_is_applied(clock, keeper):
    """A hub that is opened again works on the twins that are in the file by then."""
    hub, _ = make_hub(clock, keeper=keeper, devices=["a"])
    hub.open()
    hub.management.configurations.put("one", SET)
    hub.twins.update_tags("a", {"site": "munich"})
    hub.close()
    other, _ = make_hub(clock, keeper=keeper)
    other.open()
    other.twins.update_desired("a", {"added": 1, "x": {"y": 2}})
    other.close()
    hub.open()
    assert hub.twins.get("a").desired == {"x": {"y": 1}, "added": 1}
    assert hub.registry.get(EDGE) is not None
    hub.close()


def _full():
    raise StoreError("the disk is full", "make room")
