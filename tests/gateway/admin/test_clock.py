"""The clock over HTTP: two hours pass in no time, for everything that the hub decides."""

import asyncio

import httpx
import pytest

from certs import Authority, other_root
from gateway import Gateway, MovableClock
from gateway.events import ClientDisconnected, HubStarted
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE


async def test_clock_tells_what_time_it_is(hub, web):
    """In words and in seconds."""
    hub.clock.advance(10)
    told = (await web.get("/clock")).json()
    assert told.pop("ahead") < 0  # the clock of the test stands in the past
    assert told == {"now": "2023-11-14T22:13:30Z", "timestamp": 1_700_000_010.0, "passed": 10.0, "movable": True}


@pytest.mark.parametrize(
    ("move", "now", "passed"),
    [
        ({"advance": "+2h"}, 7_200, 7_200),
        ({"advance": "90m"}, 5_400, 5_400),
        ({"advance": 1.5}, 1.5, 1.5),
        ({"advance": "500ms"}, 0.5, 0.5),
        ({"advance": 0}, 0, 0),
        ({"step": "-30s"}, -30, 0),
        ({"step": 86_400}, 86_400, 0),
    ],
)
async def test_clock_is_moved(hub, web, move, now, passed):
    """For everybody, or the gateway's alone; the answer has the new time."""
    answer = (await web.post("/clock", json=move)).json()
    assert (answer["timestamp"] - 1_700_000_000, answer["passed"]) == (now, passed)
    assert hub.clock.now() - 1_700_000_000 == now


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ({}, "name `advance` or `step`, one of them"),
        ({"advance": 1, "step": 1}, "name `advance` or `step`, one of them"),
        ({"advance": "two hours"}, "advance: write seconds as a number, or a duration with its unit"),
        ({"advance": True}, "advance: write seconds as a number"),
        ({"advance": "1w"}, "advance: write seconds as a number"),
        ({"step": "99999999d"}, "step: no further than a hundred years"),
        ({"advance": "-1h"}, "time does not run backwards for everybody"),
        ({"elapse": "1h"}, "elapse is not known here"),
    ],
)
async def test_move_that_makes_no_sense_is_400(hub, web, move, message):
    """And the clock stands where it stood."""
    answer = await web.post("/clock", json=move)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(message)
    assert hub.clock.now() == 1_700_000_000


async def test_clock_of_the_machine_is_not_moved(chain):
    """409 with what to do instead; it can be read."""
    async with Gateway(chain=chain, admin_port=0) as gateway, httpx.AsyncClient(base_url=gateway.admin_url) as web:
        assert (await web.get("/api/v1/clock")).json()["movable"] is False
        answer = await web.post("/api/v1/clock", json={"advance": 1})
        assert answer.status_code == 409
        assert answer.json() == {
            "message": "this gateway lives by the machine's clock, which nobody can move",
            "hint": "start it with `leafgate up`, or as Gateway(clock=MovableClock())",
        }


async def test_two_hours_pass_for_everything_that_the_hub_decides(hub, web):
    """A SAS leaf whose token has run out is dropped, one with a longer token stays, a message for it has expired."""
    short, long = await hub.join(), await hub.dial()
    name, token = "mill", hub.password("mill", ttl=9_000)
    long.send(p.connect(name, f"{hub.gateway.hub_hostname}/{name}/?api-version=2021-04-12", token))
    await long.packet()
    assert (await web.post("/c2d", json={"deviceId": "mill", "payload": "x"})).status_code == 202
    assert (await web.post("/clock", json={"advance": "+2h"})).status_code == 200
    await short.eof()
    await hub.event(ClientDisconnected, client_id="press")
    assert "expired" in hub.log.getvalue()
    assert hub.gateway.connected == ("mill",)
    assert hub.gateway.upstream.commands.depth("mill") == 0
    long.send(p.PINGREQ)
    assert await long.packet() == p.PINGRESP


async def test_server_certificate_is_renewed_when_its_time_has_come(start):
    """`leafgate up`'s clock: thirty days pass in one request, which answers when Edge Hub runs with a new one."""
    clock = MovableClock()
    year = Authority(hostname="localhost", days=365).chain()  # of which the server certificate has thirty days
    hub = await start(year, admin_port=0, clock=clock)
    async with httpx.AsyncClient(base_url=hub.gateway.admin_url, timeout=PATIENCE) as web:
        before = hub.gateway.chain.server.certificate
        left = before.not_valid_after_utc.timestamp() - clock.now()
        answer = await web.post("/api/v1/clock", json={"advance": left - 100})
        assert answer.status_code == 200, answer.text
        after = hub.gateway.chain.server
        assert after.certificate.serial_number != before.serial_number
        assert after.template.not_after.timestamp() > clock.now() + 3_600
        assert [event.expires for event in hub.of(HubStarted)] == [after.template.not_after.timestamp()]
        assert (await web.get("/api/v1/health")).json()["status"] == "up"


async def test_outage_of_two_hours_is_over_at_once(hub, web):
    """Messages wait while the link is cut, retries come due by the clock, and then everything has arrived."""
    client = await hub.join()
    hub.gateway.upstream.link.switch("throttled")
    client.send(*(p.publish(body=b"%d" % number, packet_id=number) for number in range(1, 21)))
    await client.packets(20)
    assert len(hub.gateway.upstream.inbox) == 0
    hub.gateway.upstream.link.switch("up")
    await web.post("/clock", json={"advance": "2h"})
    async with asyncio.timeout(PATIENCE):
        await hub.gateway.upstream.inbox.wait(hub.gateway.upstream.feed.latest - 1)
    assert [int(one.body) for one in hub.gateway.upstream.inbox.messages] == list(range(1, 21))


async def test_clock_is_not_moved_where_the_chain_cannot_follow(start, chain):
    """409 with the reason, and it is as late as before: a certificate that is sent has no key here."""
    hub = await start(chain.sending([*chain.sent, other_root(chain)]), admin_port=0)
    async with httpx.AsyncClient(base_url=hub.gateway.admin_url) as web:
        answer = await web.post("/api/v1/clock", json={"advance": "1d"})
        assert answer.status_code == 409
        assert answer.json()["message"].startswith("the certificates cannot age: ")
        assert (await web.get("/api/v1/clock")).json()["timestamp"] == 1_700_000_000
        assert (await web.post("/api/v1/clock", json={"step": "1d"})).status_code == 200
