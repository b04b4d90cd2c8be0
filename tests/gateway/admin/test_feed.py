"""The feed over HTTP: long poll, JSON lines and server-sent events, with a real client."""

import asyncio
import base64
import json

import httpx
import pytest

from gateway.admin import feed as feed_module
from gateway.upstream.event import as_event
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE

TELEMETRY = {"source": "Telemetry"}


async def publish(client, *bodies, device="press"):
    """Send messages and wait until they are acknowledged."""
    topic = f"devices/{device}/messages/events/"
    client.send(*(p.publish(topic, body, packet_id=number) for number, body in enumerate(bodies, 1)))
    await client.packets(len(bodies))


async def test_reader_starts_with_the_latest_and_goes_on(hub, web):
    """As the interface says: a number, then what came behind it."""
    client = await hub.join()
    await publish(client, b"before")
    start = (await web.get("/feed", params={"after": "latest"})).json()
    assert start == {"next": hub.gateway.upstream.feed.latest, "events": []}
    await publish(client, b"\x00after")
    answer = (await web.get("/feed", params={"after": start["next"], "wait": 1})).json()
    (event,) = answer["events"]
    assert answer["next"] == event["sequence"] == start["next"] + 1
    assert event == as_event(hub.gateway.upstream.inbox.messages[-1])
    assert (event["deviceId"], event["moduleId"], event["source"]) == ("press", None, "Telemetry")
    assert base64.b64decode(event["body"]) == b"\x00after"
    assert event["systemProperties"]["iothub-connection-auth-method"].startswith('{"scope":"device","type":"sas"')


async def test_waiting_reader_is_answered_when_something_arrives(hub, web):
    """And one for whom nothing comes gets an empty answer."""
    client = await hub.join()
    latest = hub.gateway.upstream.feed.latest
    waiting = asyncio.ensure_future(web.get("/feed", params={"after": latest, "wait": 1, **TELEMETRY}))
    nothing = asyncio.ensure_future(web.get("/feed", params={"after": latest, "wait": 0.1, "device": "nobody"}))
    await publish(client, b"now")
    bodies = [event["body"] for event in (await waiting).json()["events"]]
    assert bodies == [base64.b64encode(b"now").decode()]
    assert (await nothing).json() == {"next": latest + 1, "events": []}


async def test_feed_can_be_asked_for_a_device_or_a_source(hub, web):
    """Everything else is passed over; `next` says how far."""
    await publish(await hub.join(), b"1")
    await publish(await hub.join("mill"), b"2", device="mill")
    hub.gateway.upstream.twins.update_desired("mill", {"speed": 1})
    everything = (await web.get("/feed")).json()
    for wanted, expected in (
        ({"device": "press"}, [("press", "Telemetry")]),
        ({"device": "mill"}, [("mill", "Telemetry"), ("mill", "twinChangeEvents")]),
        ({"device": "mill", "source": "twinChangeEvents"}, [("mill", "twinChangeEvents")]),
    ):
        answer = (await web.get("/feed", params=wanted)).json()
        assert [(event["deviceId"], event["source"]) for event in answer["events"]] == expected
        assert answer["next"] == everything["next"]


async def test_feed_as_json_lines(hub, web):
    """One event per line, and the number to go on with in a header."""
    await publish(await hub.join(), b"1", b"2")
    answer = await web.get("/feed", params=TELEMETRY, headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert events == [as_event(one) for one in hub.gateway.upstream.inbox.messages]
    assert answer.headers["x-next"] == str(hub.gateway.upstream.feed.latest)


async def test_limit_cuts_an_answer(hub, web):
    """The rest comes with the next one."""
    await publish(await hub.join(), b"1", b"2", b"3")
    first = (await web.get("/feed", params={"limit": 2, **TELEMETRY})).json()
    second = (await web.get("/feed", params={"after": first["next"], **TELEMETRY})).json()
    assert [len(answer["events"]) for answer in (first, second)] == [2, 1]


async def test_reader_that_comes_too_late_is_told_what_it_missed(start):
    """`missed` counts what is kept no more; otherwise it is not there."""
    from gateway import Settings

    hub = await start(admin_port=0, settings=Settings(inbox_limit=2, twin_change_events=False))
    await publish(await hub.join(), b"1", b"2", b"3")
    async with httpx.AsyncClient(base_url=hub.gateway.admin_url) as web:
        answer = (await web.get("/api/v1/feed")).json()
        assert (answer["missed"], [event["sequence"] for event in answer["events"]]) == (1, [2, 3])
        assert "missed" not in (await web.get("/api/v1/feed?after=1")).json()


class Stream:
    """Server-sent events, read as the specification has it: fields by name, frames by blank lines."""

    def __init__(self, response):
        self._lines = response.aiter_lines()

    async def frame(self):
        """The next frame: its fields, with comments under an empty name."""
        fields = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        raise EOFError

    async def event(self):
        """The next frame with data, as JSON."""
        while "data" not in (frame := await self.frame()):
            pass
        return frame["id"], json.loads(frame["data"])


async def test_stream_sends_what_arrives_and_goes_on_behind_the_last_event(hub, web):
    """A browser's EventSource reconnects with the id of what it saw last."""
    client = await hub.join()
    await publish(client, b"before")
    async with web.stream("GET", "/feed/stream", params=TELEMETRY) as response:
        stream = Stream(response)
        assert await stream.frame() == {"retry": "1000"}
        await publish(client, b"1")
        number, event = await stream.event()
        assert (number, event) == (str(event["sequence"]), as_event(hub.gateway.upstream.inbox.messages[1]))
    await publish(client, b"2")
    headers = {"Last-Event-ID": number}
    async with web.stream("GET", "/feed/stream", params={"after": 0, **TELEMETRY}, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        _, event = await Stream(response).event()
        assert base64.b64decode(event["body"]) == b"2"


async def test_silent_stream_says_that_it_is_alive(hub, web, monkeypatch):
    """A comment now and then, which clients do not see as an event."""
    monkeypatch.setattr(feed_module, "HEARTBEAT", 0.01)
    async with web.stream("GET", "/feed/stream") as response:
        stream = Stream(response)
        assert await stream.frame() == {"retry": "1000"}
        assert await stream.frame() == {"": "nothing new"}


async def test_slow_reader_of_a_stream_costs_no_memory_and_is_told_what_it_missed(start):
    """It reads nothing while 40 MB arrive: they go when memory is full, and are not kept for the reader."""
    from gateway import Settings

    hub = await start(admin_port=0, settings=Settings(inbox_limit=50, twin_change_events=False))
    client = await hub.join()
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.gateway.admin_port, limit=1024)
    writer.write(b"GET /api/v1/feed/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(200):
        await publish(client, *[bytes(20_000)] * 10)
    async with asyncio.timeout(PATIENCE):
        text = b""
        while b"event: missed" not in text:
            text = text[-100:] + await reader.read(65_536)
    writer.transport.abort()
    assert len(hub.gateway.upstream.inbox) == 50


async def test_gateway_stops_while_readers_wait(hub, web):
    """Their connections are cut, and nothing hangs."""
    async with web.stream("GET", "/feed/stream") as response:
        stream = Stream(response)
        await stream.frame()
        await hub.gateway.stop()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await stream.frame()
