"""Jobs over the service API."""

from datetime import UTC, datetime

import pytest

from tests.gateway import packets as p

TAG = {
    "jobId": "j",
    "type": "scheduleUpdateTwin",
    "updateTwin": {"etag": "*", "tags": {"site": "munich"}},
    "queryCondition": "deviceId = 'press'",
    "startTime": "2023-11-14T23:13:20Z",
    "maxExecutionTimeInSeconds": 3600,
}
REBOOT = {
    "type": "scheduleDeviceMethod",
    "cloudToDeviceMethod": {"methodName": "reboot", "payload": 5, "responseTimeoutInSeconds": 30},
    "queryCondition": "deviceId = 'press'",
}


async def test_job_runs_when_the_clock_says(hub, call):
    """Scheduled, then completed; the twin is changed and the part is there to be queried."""
    hub.gateway.connection_string("press")
    start = TAG | {"startTime": hub_time(hub, 3_600)}
    created = await call("PUT", "/jobs/v2/j", start)
    assert (created.status, created.body["status"]) == (200, "scheduled")
    again = await call("PUT", "/jobs/v2/j", start)
    assert (again.status, again.code) == (409, "JobAlreadyExists")
    hub.clock.advance(3_600)
    await hub.turn()
    job = (await call("GET", "/jobs/v2/j")).body
    assert (job["status"], job["deviceJobStatistics"]["succeededCount"]) == ("completed", 1)
    assert (await call("GET", "/twins/press")).body["tags"] == {"site": "munich"}
    parts = await call("POST", "/devices/query", {"query": "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j'"})
    assert [(one["deviceId"], one["status"]) for one in parts.body] == [("press", "completed")]


async def test_method_job_calls_a_connected_device(hub, call):
    """Its answer is the outcome."""
    leaf = await hub.join()
    leaf.send(p.subscribe(("$iothub/methods/POST/#", 0)))
    await leaf.packet()
    await call("PUT", "/jobs/v2/j", REBOOT)
    hub.clock.advance(1)
    topic, body = p.read_publish(await leaf.packet())[::2]
    assert (topic.partition("/?")[0], body) == ("$iothub/methods/POST/reboot", b"5")
    request_id = topic.partition("$rid=")[2]
    leaf.send(p.publish(f"$iothub/methods/res/200/?$rid={request_id}", b'{"done":true}', qos=0))
    leaf.send(p.publish(packet_id=9))
    assert await leaf.packet() == p.puback(9)
    job = (await call("GET", "/jobs/v2/j")).body
    assert (job["status"], job["deviceJobStatistics"]["succeededCount"]) == ("completed", 1)
    parts = await call("POST", "/devices/query", {"query": "SELECT * FROM devices.jobs"})
    assert parts.body[0]["outcome"] == {"deviceMethodResponse": {"status": 200, "payload": {"done": True}}}


async def test_job_is_cancelled(hub, call):
    """Before it has started."""
    await call("PUT", "/jobs/v2/j", TAG | {"startTime": hub_time(hub, 60)})
    answer = await call("POST", "/jobs/v2/j/cancel")
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    unknown = await call("POST", "/jobs/v2/k/cancel")
    assert (unknown.status, unknown.code) == (404, "JobNotFound")


async def test_unknown_job_is_of_an_unknown_type(call):
    """IoT Hub answers 200."""
    answer = await call("GET", "/jobs/v2/nobody")
    assert (answer.status, answer.body) == (200, {"jobId": "nobody", "type": "unknown", "status": "unknown"})


async def test_jobs_are_listed_by_type_and_status_in_pages(hub, call):
    """With the headers of queries."""
    for name in ("a", "b", "c"):
        await call("PUT", f"/jobs/v2/{name}", TAG | {"jobId": name, "startTime": hub_time(hub, 60)})
    query = "api-version=2021-04-12&jobType=scheduleUpdateTwin&jobStatus=scheduled"
    headers = [("x-ms-max-item-count", "2")]
    first = await call("GET", "/jobs/v2/query", query=query, headers=headers)
    assert first.headers["x-ms-item-type"] == "JobResponse"
    token = first.headers["x-ms-continuation"]
    second = await call("GET", "/jobs/v2/query", query=query, headers=[*headers, ("x-ms-continuation", token)])
    assert [job["jobId"] for job in [*first.body, *second.body]] == ["a", "b", "c"]
    assert "x-ms-continuation" not in second.headers
    none = await call("GET", "/jobs/v2/query", query="api-version=2021-04-12&jobStatus=running")
    assert none.body == []


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"type": "scheduleUpdateTwin", "queryCondition": "*"}, "ArgumentInvalid"),
        (REBOOT | {"queryCondition": "tags.a ="}, "ArgumentInvalid"),
        ([], "ArgumentInvalid"),
    ],
)
async def test_job_that_is_refused(call, document, code):
    """With 400."""
    answer = await call("PUT", "/jobs/v2/j", document)
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (
            {"type": "export", "outputBlobContainerUri": "https://x.blob.core.test/c?sig=s"},
            "BlobContainerValidationError",
        ),
        (
            {"type": "import", "inputBlobContainerUri": "https://x/c", "outputBlobContainerUri": "https://x/c"},
            "BlobContainerValidationError",
        ),
        ({"type": "import", "inputBlobContainerUri": "https://x/c"}, "ArgumentNull"),
        ({"type": "export"}, "ArgumentNull"),
        ({"type": "reboot"}, "ArgumentInvalid"),
    ],
)
async def test_import_and_export_reach_no_container(call, document, code):
    """IoT Hub's error for a container that it cannot use; the address, which has a signature, is not repeated."""
    answer = await call("POST", "/jobs/create", document)
    assert (answer.status, answer.code) == (400, code)
    assert "sig=" not in answer.message
    assert (await call("GET", "/jobs")).body == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_import_or_export_that_does_not_exist(call, method):
    """404."""
    answer = await call(method, "/jobs/nobody")
    assert (answer.status, answer.code) == (404, "JobNotFound")


@pytest.mark.parametrize(
    ("policy", "scheduled", "transfers"),
    [("service", 200, 401), ("registryReadWrite", 401, 200), ("registryRead", 401, 401), ("device", 401, 401)],
)
async def test_who_may_use_jobs(call, policy, scheduled, transfers):
    """Scheduled ones need ServiceConnect, imports and exports RegistryWrite."""
    auth = call.token(policy)
    assert (await call("GET", "/jobs/v2/query", auth=auth)).status == scheduled
    assert (await call("GET", "/jobs", auth=auth)).status == transfers


def hub_time(hub, seconds):
    """A moment that many seconds from now, as SDKs write it."""
    return datetime.fromtimestamp(hub.clock.now() + seconds, UTC).isoformat()
