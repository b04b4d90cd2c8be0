"""Requests that are wrong in themselves, and the shape of every refusal."""

import json

import pytest

VERSIONLESS = "InvalidProtocolVersion"


def told(answer):
    """Status and code."""
    return answer.status, answer.code


@pytest.mark.parametrize(
    "query", ["", "api-version=", "api-version=2099-01-01", "api-version=2021-04-12&api-version=2021-04-12"]
)
async def test_version_that_there_is_not_is_refused(call, query):
    """A missing api-version, an unknown one, two of them."""
    assert told(await call("GET", "/devices", query=query)) == (400, VERSIONLESS)


@pytest.mark.parametrize("version", ["2018-06-30", "2020-03-13", "2020-09-30"])
async def test_older_versions_are_answered(call, version):
    """Older back ends are answered as the newest are."""
    assert (await call("GET", "/devices", query=f"api-version={version}")).status == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/devices/d1/keys", "/twins", "/messages/serviceBound"])
async def test_unknown_path_is_not_found(call, path):
    """404 in IoT Hub's shape, and not the framework's."""
    assert told(await call("GET", path)) == (404, "GenericNotFound")


async def test_token_is_judged_before_anything_else(call):
    """A stranger does not learn which paths there are."""
    answer = await call("POST", "/nothing", body=b"{", auth=False, query="")
    assert told(answer) == (401, "IotHubUnauthorizedAccess")


async def test_method_that_a_path_does_not_know(call):
    """405 in IoT Hub's shape."""
    assert told(await call("POST", "/statistics/devices", {})) == (405, "GenericMethodNotAllowed")


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"a": }', b"\xff\xfe", b"[" * 100_000])
async def test_body_that_is_no_json_is_refused(call, body):
    """Half a document, no document, no UTF-8, and one that is too deep to read."""
    answer = await call("PUT", "/devices/d1", body=body)
    assert answer.status == 400
    assert answer.code in ("DeserializationError", "ArgumentInvalid")


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "the body"),
        ("d1", "the body"),
        (None, "the body"),
        ({"status": "maybe"}, "status"),
        ({"status": 1}, "status"),
        ({"statusReason": {}}, "statusReason"),
        ({"capabilities": {"iotEdge": "perhaps"}}, "capabilities.iotEdge"),
        ({"authentication": {"type": "password"}}, "authentication.type"),
        ({"authentication": {"symmetricKey": {"primaryKey": 1}}}, "authentication.symmetricKey.primaryKey"),
        ({"parentScopes": "none"}, "parentScopes"),
    ],
)
async def test_wrong_type_is_told_with_its_place(call, document, where):
    """400 with the field's name; the value, which may be a key, is not repeated."""
    answer = await call("PUT", "/devices/d1", body=json.dumps(document).encode())
    assert told(answer) == (400, "ArgumentInvalid")
    assert answer.message.startswith(f"{where}: ")


async def test_key_is_in_no_error(call):
    """A key of a wrong type does not come back."""
    secret = "bm90IGEgc2VjcmV0"
    document = {"authentication": {"symmetricKey": {"primaryKey": [secret]}}}
    answer = await call("PUT", "/devices/d1", document)
    assert answer.status == 400
    assert secret not in json.dumps(answer.body)


async def test_nobody_has_to_say_that_json_is_json(call):
    """A body without Content-Type, or with that of a form (curl), is read as JSON."""
    assert (await call("PUT", "/devices/d1", {})).status == 200
    form = [("Content-Type", "application/x-www-form-urlencoded")]
    assert (await call("PUT", "/devices/d2", {}, headers=form)).status == 200


async def test_failure_of_our_own_is_answered_and_logged(hub, call, monkeypatch):
    """500 in IoT Hub's shape; the log has what went wrong, the answer does not."""

    def broken(self, device_id, module_id=None):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(type(hub.gateway.registry), "known", broken)
    answer = await call("GET", "/devices/d1")
    assert (*told(answer), answer.message) == (500, "ServerError", "leafgate has failed; its log says more")
    assert "Service API: GET /devices/d1 failed" in hub.log.getvalue()


async def test_description_needs_no_token(call):
    """The API's own description is for whoever asks."""
    answer = await call("GET", "/openapi.json", auth=False, query="")
    assert answer.status == 200
    assert answer.body["info"]["version"] == "2021-04-12"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil"])
async def test_other_name_is_refused(call, host):
    """A page that has its own name point to 127.0.0.1 gets nothing (DNS rebinding)."""
    answer = await call("GET", "/devices", host=host)
    assert (answer.status, answer.body) == (421, {"Message": f"this server is not called {host!r}"})


@pytest.mark.parametrize("host", ["hub.leafgate.test", "HUB.leafgate.test:8443", "localhost:8443", "127.0.0.1"])
async def test_hubs_names_are_accepted(call, host):
    """The names that its certificate has, with any port."""
    assert (await call("GET", "/devices", host=host)).status == 200


async def test_page_of_another_origin_is_refused(call):
    """A web page cannot drive a developer's hub, not even with a token."""
    for headers in ([("Origin", "https://evil.example")], [("Sec-Fetch-Site", "cross-site")]):
        assert (await call("GET", "/devices", headers=headers)).status == 403
    same = [("Origin", "https://hub.leafgate.test")]
    assert (await call("GET", "/devices", headers=same)).status == 200
