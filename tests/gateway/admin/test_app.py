"""What holds for every route: the document, errors, and who may ask."""

import json
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import validate

from gateway import Gateway, MovableClock
from scenarios.ready import announcement
from tests.gateway import packets as p

#: one good request for each route
ROUTES = [
    ("GET", "/health", None),
    ("GET", "/state", None),
    ("GET", "/feed?after=0", None),
    ("GET", "/feed/stream?after=0", None),
    ("POST", "/c2d", {"deviceId": "press", "payload": "hello"}),
    ("GET", "/clock", None),
    ("POST", "/clock", {"advance": 1}),
]


async def test_openapi_document_is_valid_and_names_every_route(web):
    """By the validator of the OpenAPI specification; no answer is announced that is never given."""
    document = (await web.get("/openapi.json")).json()
    validate(document)
    named = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert named == {(method, "/api/v1" + path.partition("?")[0]) for method, path, _ in ROUTES}
    assert "422" not in json.dumps(document)
    assert "ValidationError" not in json.dumps(document)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
async def test_web_page_cannot_drive_a_gateway(hub, web, route, headers, status):
    """Neither read nor change anything: not as another origin, not under a name of its own."""
    method, path, body = route
    hub.gateway.connection_string("press")
    answer = await web.request(method, path, json=body, headers=headers)
    assert answer.status_code == status
    assert hub.gateway.upstream.commands.depth("press") == 0
    assert hub.clock.now() == 1_700_000_000


async def test_form_of_a_web_page_is_no_request(hub, web):
    """A page could send one without asking (a simple request); it is not read as JSON."""
    hub.gateway.connection_string("press")
    body = b'{"deviceId":"press","payload":"x"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = await web.post("/c2d", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
        assert answer.json()["hint"] == "send it as the body, with Content-Type: application/json"
    assert hub.gateway.upstream.commands.depth("press") == 0


@pytest.mark.parametrize(("method", "path", "body"), [route for route in ROUTES if "stream" not in route[1]])
async def test_other_machines_need_the_token(chain, method, path, body):
    """With the gateway open to them, every route asks for it."""
    async with Gateway(chain=chain, bind="0.0.0.0", admin_port=0, clock=MovableClock()) as gateway:
        gateway.connection_string("press")
        async with httpx.AsyncClient(base_url=f"{gateway.admin_url}/api/v1") as web:
            assert (await web.request(method, path, json=body)).status_code == 401
            headers = {"Authorization": f"Bearer {gateway.admin_token}"}
            assert (await web.request(method, path, json=body, headers=headers)).is_success


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nothing", 404, "there is nothing at /api/v1/nothing"),
        ("DELETE", "/clock", 405, "DELETE is not possible at /api/v1/clock"),
        ("GET", "/feed?after=yesterday", 400, "after"),
        ("GET", "/feed?after=-1", 400, "after"),
        ("GET", "/feed?wait=-1", 400, "wait: input should be greater than or equal to 0"),
        ("GET", "/feed?limit=0", 400, "limit: input should be greater than or equal to 1"),
        ("GET", "/feed?source=telemetry", 400, "source: input should be 'Telemetry', 'twinChangeEvents'"),
        ("GET", "/feed?aftre=1", 400, "aftre is not known here"),
        ("GET", "/feed/stream?wait=1", 400, "wait is not known here"),
    ],
)
async def test_what_is_wrong_is_said(web, method, path, status, message):
    """In one shape, with the name of the field."""
    answer = await web.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"message", "hint"}
    assert answer.json()["message"].startswith(message)


@pytest.mark.parametrize("path", ["/c2d", "/clock"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body is no JSON: "),
        (b"[1]", "a JSON object is needed"),
        (b"", "a JSON object is needed"),
        (b'{"colour": "red"}', "colour is not known here"),
    ],
)
async def test_body_that_is_no_request_is_400(web, path, content, message):
    """And says what it should have been."""
    answer = await web.post(path, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, set(answer.json())) == (400, {"message", "hint"})
    assert answer.json()["message"].startswith(message)


async def test_state_shows_the_gateway_at_a_glance(hub, web):
    """Clients, link, faults and how much has arrived."""
    await hub.join()
    hub.gateway.upstream.twins.update_desired("press", {"speed": 5})
    hub.gateway.faults.add("delay", seconds=0)
    hub.gateway.upstream.link.switch("throttled")
    state = (await web.get("/state")).json()
    assert state == {
        "hostname": "localhost",
        "running": True,
        "now": "2023-11-14T22:13:20Z",
        "link": "throttled",
        "registered": 3,
        "connected": ["press"],
        "faults": ["delay"],
        "arrived": {
            "next": 1,
            "kept": {"Telemetry": 0, "twinChangeEvents": 1},
            "forgotten": {"Telemetry": 0},
        },
    }


@pytest.mark.parametrize("path", ["/health", "/state", "/feed", "/clock"])
async def test_no_answer_has_a_key_in_it(hub, web, path):
    """Neither a device's nor its token's signature, also after it was refused; nor is it in what is announced."""
    client = await hub.join()
    client.send(p.publish())
    await client.packet()
    hub.gateway.upstream.twins.update_desired("press", {"speed": 5})
    device = hub.gateway.registry.get("press")
    told = (await web.get(path)).text + json.dumps(announcement(hub.gateway, Path("ready.json")))
    for secret in (device.primary_key, device.secondary_key, hub.password("press").split("sig=")[1][:20]):
        assert secret not in told
