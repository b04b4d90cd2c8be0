"""Cloud-to-device messages over HTTP."""

import base64

import pytest

from tests.gateway import packets as p

FILTER = "devices/press/messages/devicebound/#"


async def test_message_reaches_its_device(hub, web):
    """202 once it is queued; the device gets body and properties."""
    client = await hub.join()
    client.send(p.subscribe((FILTER, 1)))
    await client.packet()
    answer = await web.post(
        "/c2d",
        json={
            "deviceId": "press",
            "payload": "hällo",
            "properties": {"colour": "red", "count": 3, "on": True},
            "systemProperties": {"message-id": "m1", "content-type": "text/plain"},
        },
    )
    assert answer.status_code == 202
    assert answer.json() == {
        "deviceId": "press", "messageId": "m1", "expires": "2023-11-14T23:13:20Z", "waiting": 1,
    }  # fmt: skip
    packet = (await client.packet()).decode("utf-8", "replace")
    assert packet.endswith("hällo")
    for part in ("colour=red", "count=3", "on=true", "%24.mid=m1", "%24.ct=text%2Fplain"):
        assert part in packet


@pytest.mark.parametrize(
    ("payload", "more", "body"),
    [
        ("text", {}, b"text"),
        ({"speed": [1, None]}, {}, b'{"speed":[1,null]}'),
        (None, {}, b"null"),
        ("", {}, b""),
        (base64.b64encode(b"\x00\xff").decode(), {"payloadEncoding": "base64"}, b"\x00\xff"),
    ],
)
async def test_payload_is_text_json_or_bytes(hub, web, payload, more, body):
    """Text as it is, anything else as JSON, bytes in base64."""
    hub.gateway.connection_string("press")
    answer = await web.post("/c2d", json={"deviceId": "press", "payload": payload, **more})
    assert answer.status_code == 202
    assert hub.gateway.upstream.commands.receive("press").body == body


async def test_device_that_is_not_registered_is_404(web):
    """Nothing is queued for it."""
    answer = await web.post("/c2d", json={"deviceId": "stranger", "payload": "x"})
    assert (answer.status_code, answer.json()["message"]) == (404, "device 'stranger' is not registered")


async def test_full_queue_is_403(hub, web):
    """IoT Hub's fifty; the fifty-first is refused with what to do."""
    hub.gateway.connection_string("press")
    statuses = [(await web.post("/c2d", json={"deviceId": "press", "payload": "x"})).status_code for _ in range(51)]
    assert statuses == [202] * 50 + [403]
    assert hub.gateway.upstream.commands.depth("press") == 50


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"deviceId": "press"}, 400, "payload: field required"),
        ({"payload": "x"}, 400, "deviceId: field required"),
        ({"deviceId": 5, "payload": "x"}, 400, "deviceId: input should be a valid string"),
        ({"deviceId": "press", "payload": "x", "properties": {"a": None}}, 400, "properties.a"),
        ({"deviceId": "press", "payload": "x", "properties": ["a"]}, 400, "properties: input should be a valid dict"),
        (
            {"deviceId": "press", "payload": "x", "systemProperties": {"messageId": "1"}},
            400,
            "'messageId' is no",
        ),
        ({"deviceId": "press", "payload": "x", "systemProperties": {"iothub-ack": "maybe"}}, 400, "'maybe' is no kind"),
        ({"deviceId": "press", "payload": "%%", "payloadEncoding": "base64"}, 400, "payload is no base64"),
        ({"deviceId": "press", "payload": {}, "payloadEncoding": "base64"}, 400, "payload is no base64"),
        ({"deviceId": "press", "payload": "\ud800"}, 400, "payload has half a surrogate pair"),
        ({"deviceId": "press", "payload": "x" * 70_000}, 413, "a message of 70000 bytes; 65536 is the most"),
    ],
)
async def test_message_that_iot_hub_would_not_take_is_refused(hub, web, body, status, message):
    """With its status and the reason; nothing is queued."""
    import json

    hub.gateway.connection_string("press")
    content = json.dumps(body)
    answer = await web.post("/c2d", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["message"].startswith(message)
    assert hub.gateway.upstream.commands.depth("press") == 0
