"""Scheduled jobs, by the clock."""

import pytest

from gateway import ManualClock
from gateway.errors import ServiceError
from gateway.hub.methods import MethodResult
from gateway.upstream.device import Device
from tests.gateway.upstream.hubs import make_hub

START = "2023-11-14T22:13:20.000000Z"
TAG = {
    "type": "scheduleUpdateTwin",
    "updateTwin": {"etag": "*", "tags": {"site": "munich"}, "properties": {"desired": {"speed": 3}}},
    "queryCondition": "deviceId IN ['a', 'b']",
}
REBOOT = {
    "type": "scheduleDeviceMethod",
    "cloudToDeviceMethod": {"methodName": "reboot", "payload": {"in": 5}, "responseTimeoutInSeconds": 30},
    "queryCondition": "*",
    "maxExecutionTimeInSeconds": 120,
}


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def fleet(clock):
    """A hub with three devices, and the gateway below it."""
    return make_hub(clock, edge="", devices=["a", "b", "c"])


def refused(action, *given):
    """Status and code of what an action is refused with."""
    with pytest.raises(ServiceError) as error:
        action(*given)
    return error.value.status, error.value.code


def counts(document):
    """Devices, succeeded, failed, running, pending."""
    names = ("deviceCount", "succeededCount", "failedCount", "runningCount", "pendingCount")
    return tuple(document["deviceJobStatistics"][name] for name in names)


def parts(hub, where="jobId = 'j'"):
    """Device and status of the parts of jobs, as the query language gives them."""
    page = hub.management.queries.page(f"SELECT * FROM devices.jobs WHERE {where}")
    assert page.item_type == "DeviceJob"
    return [(one["deviceId"], one["status"]) for one in page.items]


def test_twins_are_updated_for_whom_the_condition_chooses(fleet):
    """Tags and desired properties merge; the job waits for the next second."""
    hub, _ = fleet
    hub.twins.update_tags("a", {"room": 1})
    assert hub.management.jobs.create("j", TAG) == {
        "jobId": "j",
        "type": "scheduleUpdateTwin",
        "queryCondition": "deviceId IN ['a', 'b']",
        "createdTime": START,
        "startTime": START,
        "maxExecutionTimeInSeconds": 3600,
        "updateTwin": TAG["updateTwin"],
        "status": "queued",
        "deviceJobStatistics": {
            "deviceCount": 0, "failedCount": 0, "succeededCount": 0, "runningCount": 0, "pendingCount": 0,
        },
    }  # fmt: skip
    hub.tick()
    job = hub.management.jobs.document("j")
    assert (job["status"], job["endTime"], counts(job)) == ("completed", START, (2, 2, 0, 0, 0))
    assert (hub.twins.get("a").tags, hub.twins.get("a").desired) == ({"room": 1, "site": "munich"}, {"speed": 3})
    assert (hub.twins.get("c").tags, hub.twins.get("c").desired) == ({}, {})


def test_job_starts_when_the_clock_says(fleet, clock):
    """Who takes part is decided then, not when it is scheduled."""
    hub, _ = fleet
    body = TAG | {"startTime": "2023-11-14T23:13:20.0000000Z", "queryCondition": "NOT IS_DEFINED(tags.site)"}
    assert hub.management.jobs.create("j", body)["status"] == "scheduled"
    clock.advance(3_599)
    hub.tick()
    assert hub.management.jobs.document("j")["status"] == "scheduled"
    assert parts(hub) == []
    hub.twins.update_tags("a", {"site": "graz"})
    clock.advance(1)
    hub.tick()
    assert hub.management.jobs.document("j")["startTime"] == "2023-11-14T23:13:20.000000Z"
    assert parts(hub) == [("b", "completed"), ("c", "completed")]


def test_method_is_called_on_each_device(fleet, clock):
    """Running until all have answered; the answers are the outcomes, and who is not there has failed."""
    hub, below = fleet
    below.connected = {"a", "b"}
    hub.management.jobs.create("j", REBOOT)
    hub.tick()
    job = hub.management.jobs.document("j")
    assert (job["status"], counts(job)) == ("running", (3, 0, 1, 2, 0))
    calls = {call.client_id: (call, answer) for call, answer in below.calls}
    call, answer = calls["a"]
    assert (call.name, call.payload, call.response_timeout) == ("reboot", b'{"in":5}', 30)
    clock.advance(10)
    answer(MethodResult(200, b'{"ok":true}'))
    calls["b"][1](MethodResult(None, b"", 504, "Timed out"))
    job = hub.management.jobs.document("j")
    assert (job["status"], counts(job), job["endTime"]) == ("completed", (3, 1, 2, 0, 0), "2023-11-14T22:13:30.000000Z")
    page = hub.management.queries.page("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j'")
    assert page.items[0] == {
        "deviceId": "a",
        "jobId": "j",
        "jobType": "scheduleDeviceMethod",
        "status": "completed",
        "startTimeUtc": START,
        "endTimeUtc": "2023-11-14T22:13:30.000000Z",
        "createdDateTimeUtc": START,
        "lastUpdatedDateTimeUtc": "2023-11-14T22:13:30.000000Z",
        "outcome": {"deviceMethodResponse": {"status": 200, "payload": {"ok": True}}},
    }
    assert [one["error"]["code"] for one in page.items[1:]] == ["GatewayTimeout", "DeviceNotOnline"]


def test_job_that_fails_on_every_device_has_failed(fleet):
    """It says so."""
    hub, _ = fleet
    hub.management.jobs.create("j", REBOOT)
    hub.tick()
    job = hub.management.jobs.document("j")
    assert (job["status"], job["failureReason"]) == ("failed", "The job failed on every device.")


def test_job_for_nobody_is_completed(fleet):
    """There is nothing to do."""
    hub, _ = fleet
    hub.management.jobs.create("j", TAG | {"queryCondition": "tags.site = 'linz'"})
    hub.tick()
    job = hub.management.jobs.document("j")
    assert (job["status"], counts(job)) == ("completed", (0, 0, 0, 0, 0))


def test_job_for_modules(fleet):
    """Chosen by a query from FROM on."""
    hub, _ = fleet
    hub.registry.add(Device("a", "camera"))
    hub.management.jobs.create("j", TAG | {"queryCondition": "FROM devices.modules WHERE moduleId = 'camera'"})
    hub.tick()
    assert hub.twins.get("a/camera").tags == {"site": "munich"}
    (part,) = hub.management.queries.page("SELECT * FROM devices.jobs").items
    assert (part["deviceId"], part["moduleId"]) == ("a", "camera")


def test_twin_that_cannot_hold_the_change(fleet):
    """That part has failed, and the twin is as it was."""
    hub, _ = fleet
    hub.management.jobs.create("j", TAG | {"updateTwin": {"properties": {"desired": {"a.b": 1}}}})
    hub.tick()
    assert parts(hub) == [("a", "failed"), ("b", "failed")]
    assert hub.twins.get("a").desired == {}


def test_what_is_not_done_in_time_has_failed(fleet, clock):
    """By the hub's clock; an answer that comes later changes nothing."""
    hub, below = fleet
    below.connected = {"a", "b", "c"}
    hub.management.jobs.create("j", REBOOT)
    hub.tick()
    below.calls[0][1](MethodResult(200, b""))
    clock.advance(119)
    hub.tick()
    assert hub.management.jobs.document("j")["status"] == "running"
    clock.advance(1)
    hub.tick()
    below.calls[1][1](MethodResult(200, b""))
    assert hub.management.jobs.document("j")["status"] == "completed"
    assert parts(hub) == [("a", "completed"), ("b", "failed"), ("c", "failed")]


def test_time_that_was_skipped_leaves_none_for_the_job(fleet, clock):
    """A clock that moves past start and deadline at once lets nothing be done."""
    hub, below = fleet
    below.connected = {"a", "b", "c"}
    hub.management.jobs.create("j", REBOOT)
    clock.advance(3_600)
    hub.tick()
    assert (hub.management.jobs.document("j")["status"], below.calls) == ("failed", [])


def test_cancelling(fleet, clock):
    """Before it starts, and while it runs: what has not been done is cancelled; over is over."""
    hub, below = fleet
    below.connected = {"a", "b", "c"}
    jobs = hub.management.jobs
    jobs.create("later", TAG | {"startTime": "2023-11-15T00:00:00Z"})
    assert jobs.cancel("later")["status"] == "cancelled"
    jobs.create("j", REBOOT)
    hub.tick()
    below.calls[0][1](MethodResult(200, b""))
    assert jobs.cancel("j")["status"] == "cancelled"
    below.calls[1][1](MethodResult(200, b""))
    assert parts(hub) == [("a", "completed"), ("b", "cancelled"), ("c", "cancelled")]
    clock.advance(86_400)
    hub.tick()
    assert (jobs.document("later")["status"], hub.twins.get("a").tags) == ("cancelled", {})
    assert refused(jobs.cancel, "j") == (412, "JobRunPreconditionFailed")
    assert refused(jobs.cancel, "nobody") == (404, "JobNotFound")


def test_unknown_job_and_taken_id(fleet):
    """The one is no error, the other is."""
    hub, _ = fleet
    jobs = hub.management.jobs
    assert jobs.document("j") == {"jobId": "j", "type": "unknown", "status": "unknown"}
    jobs.create("j", TAG)
    assert refused(jobs.create, "j", TAG) == (409, "JobAlreadyExists")


@pytest.mark.parametrize(
    ("job_id", "change"),
    [
        ("a b", {}),
        ("j", {"jobId": "k"}),
        ("j", {"type": "export"}),
        ("j", {"type": None}),
        ("j", {"queryCondition": ""}),
        ("j", {"queryCondition": None}),
        ("j", {"queryCondition": "SELECT * FROM devices"}),
        ("j", {"queryCondition": "tags.a ="}),
        ("j", {"queryCondition": "FROM devices.jobs"}),
        ("j", {"startTime": "tomorrow"}),
        ("j", {"startTime": 5}),
        ("j", {"maxExecutionTimeInSeconds": -1}),
        ("j", {"maxExecutionTimeInSeconds": "60"}),
        ("j", {"updateTwin": None}),
        ("j", {"type": "scheduleDeviceMethod"}),
        ("j", REBOOT | {"cloudToDeviceMethod": {}}),
        ("j", REBOOT | {"cloudToDeviceMethod": {"methodName": "a/b"}}),
        ("j", REBOOT | {"cloudToDeviceMethod": {"methodName": "x", "responseTimeoutInSeconds": 301}}),
        ("j", REBOOT | {"cloudToDeviceMethod": {"methodName": "x", "connectTimeoutInSeconds": "1"}}),
    ],
    ids=lambda one: str(one)[:60],
)
def test_job_that_is_refused(fleet, job_id, change):
    """With 400, and nothing is scheduled."""
    hub, _ = fleet
    assert refused(hub.management.jobs.create, job_id, TAG | change) == (400, "ArgumentInvalid")
    assert hub.management.jobs.page(hub.management.queries).items == []


def test_jobs_by_type_and_status_in_pages(fleet):
    """In the order of ids; a token is good for the same question alone."""
    hub, _ = fleet
    management = hub.management
    for number in range(5):
        management.jobs.create(f"tag{number}", TAG)
    hub.tick()
    management.jobs.create("reboot", REBOOT)
    page = management.jobs.page(management.queries, "scheduleUpdateTwin", "completed", max_items=3)
    assert ([job["jobId"] for job in page.items], page.item_type) == (["tag0", "tag1", "tag2"], "JobResponse")
    more = management.jobs.page(
        management.queries, "scheduleUpdateTwin", "completed", max_items=3, continuation=page.continuation
    )
    assert ([job["jobId"] for job in more.items], more.continuation) == (["tag3", "tag4"], None)
    for status in ("queued", "enqueued"):
        found = management.jobs.page(management.queries, job_status=status).items
        assert [job["jobId"] for job in found] == ["reboot"]
    assert len(management.jobs.page(management.queries).items) == 6
    with pytest.raises(ServiceError, match="another query"):
        management.jobs.page(management.queries, "scheduleDeviceMethod", continuation=page.continuation)


def test_what_is_over_is_forgotten_after_thirty_days(fleet, clock):
    """Not before."""
    hub, _ = fleet
    hub.management.jobs.create("j", TAG)
    hub.tick()
    clock.advance(30 * 86_400 - 1)
    hub.tick()
    assert hub.management.jobs.document("j")["status"] == "completed"
    clock.advance(1)
    hub.tick()
    assert hub.management.jobs.document("j")["status"] == "unknown"


def test_deleted_device_ends_its_part(fleet):
    """The job does not wait for it."""
    hub, below = fleet
    below.connected = {"a"}
    hub.management.jobs.create("j", REBOOT | {"queryCondition": "deviceId = 'a'"})
    hub.tick()
    hub.remove("a")
    assert hub.management.jobs.document("j")["status"] == "failed"
    assert parts(hub) == [("a", "failed")]


def test_jobs_come_back_as_they_were_kept(fleet, clock):
    """Those to come start, those that are over are known, and calls under way have failed."""
    kept = {}

    def keep(kind, key, document):
        kept.setdefault(kind, {})[key] = document

    hub, below = make_hub(clock, edge="", devices=["a", "b"], keep=keep)
    below.connected = {"a"}
    hub.management.jobs.create("over", TAG)
    hub.management.jobs.create("running", REBOOT)
    hub.tick()
    hub.management.jobs.create("later", TAG | {"startTime": "2023-11-14T22:14:20Z"})
    again, _ = make_hub(clock, edge="", devices=["a", "b"])
    again.management.load(kept)
    assert again.management.jobs.document("over") == hub.management.jobs.document("over")
    assert again.management.jobs.document("later") == hub.management.jobs.document("later")
    assert parts(again, "jobId = 'running'") == [("a", "failed"), ("b", "failed")]
    clock.advance(60)
    again.tick()
    assert again.management.jobs.document("later")["status"] == "completed"
