"""Purging a device's messages, and feedback about them."""

import pytest

FEEDBACK = "/messages/serviceBound/feedback"


@pytest.fixture
async def ended(hub, call):
    """Ends a message of a device, so that there is feedback about it after fifteen seconds."""
    await call("PUT", "/devices/d1", {})

    def end(message_id):
        commands = hub.gateway.upstream.commands
        commands.send("d1", b"x", system_properties={"message-id": message_id, "iothub-ack": "full"})
        commands.complete(commands.receive("d1").lock_token)
        hub.clock.advance(16)

    return end


async def test_purged_messages_are_counted(hub, call):
    """What waits is gone; a device that is not registered has no queue."""
    await call("PUT", "/devices/d1", {})
    for _ in range(3):
        hub.gateway.upstream.commands.send("d1", b"x")
    assert (await call("GET", "/devices/d1")).body["cloudToDeviceMessageCount"] == 3
    answer = await call("DELETE", "/devices/d1/commands")
    assert answer.body == {"totalMessagesPurged": 3, "deviceId": "d1", "moduleId": None}
    assert (await call("GET", "/devices/d1")).body["cloudToDeviceMessageCount"] == 0
    assert (await call("DELETE", "/devices/nobody/commands")).code == "DeviceNotFound"


async def test_no_feedback_is_no_content(call):
    """204 while nothing has ended."""
    answer = await call("GET", FEEDBACK)
    assert (answer.status, answer.body) == (204, None)


async def test_feedback_is_received_and_completed(call, ended):
    """A batch comes with its lock in ETag; completed, it is gone, and the lock is no good any more."""
    ended("m1")
    answer = await call("GET", FEEDBACK)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.microsoft.iothub.feedback.json"
    assert [(one["originalMessageId"], one["statusCode"]) for one in answer.body] == [("m1", "Success")]
    lock = answer.headers["etag"].strip('"')
    assert (await call("GET", FEEDBACK)).status == 204
    assert (await call("DELETE", f"{FEEDBACK}/{lock}")).status == 204
    again = await call("DELETE", f"{FEEDBACK}/{lock}")
    assert (again.status, again.code) == (412, "DeviceMessageLockLost")


async def test_abandoned_feedback_comes_again(call, ended):
    """Before what came later."""
    ended("m1")
    lock = (await call("GET", FEEDBACK)).headers["etag"].strip('"')
    ended("m2")
    assert (await call("POST", f"{FEEDBACK}/{lock}/abandon")).status == 204
    assert [one["originalMessageId"] for one in (await call("GET", FEEDBACK)).body] == ["m1"]
    assert [one["originalMessageId"] for one in (await call("GET", FEEDBACK)).body] == ["m2"]


async def test_lock_runs_out(hub, call, ended):
    """After a minute the batch is received anew, and the old lock completes nothing."""
    ended("m1")
    lock = (await call("GET", FEEDBACK)).headers["etag"].strip('"')
    hub.clock.advance(60)
    assert (await call("DELETE", f"{FEEDBACK}/{lock}")).code == "DeviceMessageLockLost"
    assert (await call("GET", FEEDBACK)).status == 200


async def test_feedback_is_delivered_ten_times_at_most(call, ended):
    """A back end that never completes does not see it for ever."""
    ended("m1")
    for _ in range(10):
        lock = (await call("GET", FEEDBACK)).headers["etag"].strip('"')
        assert (await call("POST", f"{FEEDBACK}/{lock}/abandon")).status == 204
    assert (await call("GET", FEEDBACK)).status == 204


async def test_feedback_grows_old(hub, call, ended):
    """What was given back and nobody took for an hour is gone."""
    ended("m1")
    lock = (await call("GET", FEEDBACK)).headers["etag"].strip('"')
    await call("POST", f"{FEEDBACK}/{lock}/abandon")
    hub.clock.advance(3600)
    fresh = call.token()
    assert (await call("GET", FEEDBACK, auth=fresh)).status == 204
