"""Queries over the service API."""

import pytest


@pytest.fixture
async def fleet(hub):
    """Five devices with numbers, beside the gateway's own."""
    for number in range(1, 6):
        hub.gateway.connection_string(f"d{number}")
        hub.gateway.upstream.twins.update_tags(f"d{number}", {"number": number})


@pytest.mark.usefixtures("fleet")
async def test_pages_continue_by_headers(call):
    """Size and token go in as headers; the type of items and the next token come back as headers, the items as body."""
    body, token, found = {"query": "SELECT * FROM devices WHERE tags.number > 0"}, None, []
    for size in (2, 2, 1):
        headers = [("x-ms-max-item-count", "2"), *([("x-ms-continuation", token)] if token else [])]
        answer = await call("POST", "/devices/query", body, headers=headers)
        assert (answer.status, answer.headers["x-ms-item-type"], len(answer.body)) == (200, "Twin", size)
        found += [twin["deviceId"] for twin in answer.body]
        token = answer.headers.get("x-ms-continuation")
    assert (found, token) == (["d1", "d2", "d3", "d4", "d5"], None)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("query", "kind", "items"),
    [
        ("SELECT deviceId FROM devices WHERE tags.number IN [2, 3]", "Raw", [{"deviceId": "d2"}, {"deviceId": "d3"}]),
        ("SELECT COUNT() AS n FROM devices WHERE tags.number > 1", "Raw", [{"n": 4}]),
        ("SELECT * FROM devices.jobs", "DeviceJob", []),
        ("SELECT moduleId FROM devices.modules WHERE moduleId = '$edgeHub'", "Raw", [{"moduleId": "$edgeHub"}]),
    ],
)
async def test_type_of_the_items_is_told(call, query, kind, items):
    """Twin, DeviceJob or Raw."""
    answer = await call("POST", "/devices/query", {"query": query})
    assert (answer.status, answer.headers["x-ms-item-type"], answer.body) == (200, kind, items)


async def test_query_that_cannot_be_read_is_told_with_its_place(call):
    """In IoT Hub's error body."""
    answer = await call("POST", "/devices/query", {"query": "SELECT * FROM devices WHERE SELECT"})
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")
    assert answer.message.startswith(
        "SQL query parse failed due to following errors: \n\tLine 1:29 Unexpected input at 'SELECT'"
    )


@pytest.mark.usefixtures("fleet")
async def test_token_of_another_query_is_refused(call):
    """And so is one that nobody was given."""
    headers = [("x-ms-max-item-count", "1")]
    answer = await call("POST", "/devices/query", {"query": "SELECT * FROM devices"}, headers=headers)
    for query, token in [
        ("SELECT * FROM devices WHERE tags.number > 0", answer.headers["x-ms-continuation"]),
        ("SELECT * FROM devices", "2"),
    ]:
        refused = await call("POST", "/devices/query", {"query": query}, headers=[("x-ms-continuation", token)])
        assert (refused.status, refused.code) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("size", ["0", "-1", "ten", "1.5", "\u00b2"])
async def test_page_size_that_is_no_number(call, size):
    """400, and what it has to be."""
    headers = [("x-ms-max-item-count", size.encode("utf-8").decode("latin-1"))]
    answer = await call("POST", "/devices/query", {"query": "SELECT * FROM devices"}, headers=headers)
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")
    assert answer.message.endswith("it has to be a positive number")


@pytest.mark.parametrize("document", [{}, {"query": 1}, [], "x"])
async def test_body_without_a_query(call, document):
    """Refused."""
    answer = await call("POST", "/devices/query", document)
    assert (answer.status, answer.code) == (400, "ArgumentInvalid")


@pytest.mark.parametrize(("policy", "status"), [("service", 200), ("registryRead", 200), ("device", 401)])
async def test_who_may_ask(call, policy, status):
    """Back ends with ServiceConnect or RegistryRead."""
    answer = await call("POST", "/devices/query", {"query": "SELECT * FROM devices"}, auth=call.token(policy))
    assert answer.status == status


async def test_connected_device_is_found(hub, call):
    """The gateway tells who is connected; its own module is."""
    await hub.join("press")
    body = {"query": "SELECT deviceId FROM devices WHERE connectionState = 'Connected'"}
    assert (await call("POST", "/devices/query", body)).body == [{"deviceId": "press"}]
    body = {"query": "SELECT moduleId FROM devices.modules WHERE connectionState = 'Connected'"}
    assert (await call("POST", "/devices/query", body)).body == [{"moduleId": "$edgeHub"}]
