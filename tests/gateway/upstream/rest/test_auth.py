"""Who may call the service API, and what everybody else is told."""

import logging

import pytest

from gateway import Gateway
from tests.gateway.upstream.rest.caller import Caller, token
from tests.test_secrets import leaks

UNAUTHORIZED = (401, "IotHubUnauthorizedAccess", "Unauthorized")


def refused(answer):
    """The three facts of a refusal."""
    return answer.status, answer.code, answer.message


async def test_token_of_the_owner_is_accepted(call):
    """iothubowner may do everything; each answer has a request id."""
    answer = await call("GET", "/devices")
    assert answer.status == 200
    assert len(answer.headers["x-ms-request-id"]) == 36


@pytest.mark.parametrize(
    "resource", ["localhost", "127.0.0.1", "LOCALHOST:8443", "hub.leafgate.test:443", "HUB.Leafgate.Test", "localhost/"]
)
async def test_each_spelling_of_the_hub_is_accepted_in_sr(call, resource):
    """The hub's name, localhost and 127.0.0.1, in any case, with or without a port."""
    assert (await call("GET", "/devices", auth=call.token(resource=resource))).status == 200


@pytest.mark.parametrize("resource", ["other.azure-devices.net", "localhost:x", "hub.leafgate.test.evil", ""])
async def test_token_for_another_hub_is_refused(call, resource):
    """The audience has to be this hub."""
    assert refused(await call("GET", "/devices", auth=call.token(resource=resource))) == UNAUTHORIZED


async def test_token_for_one_device_opens_only_that_device(call):
    """`sr` may be the beginning of what is asked for, segment by segment and in any case."""
    await call("PUT", "/devices/d1", {})
    await call("PUT", "/devices/d10", {})
    auth = call.token(resource="hub.leafgate.test/DEVICES/d1")
    assert (await call("GET", "/devices/d1", auth=auth)).status == 200
    assert (await call("GET", "/devices/d1/modules", auth=auth)).status == 200
    assert refused(await call("GET", "/devices/d10", auth=auth)) == UNAUTHORIZED
    assert refused(await call("GET", "/devices", auth=auth)) == UNAUTHORIZED


async def test_secondary_key_is_as_good_as_the_primary(hub, call):
    """Keys are rolled one after the other."""
    policies = hub.gateway.policies
    assert (await call("GET", "/devices", auth=call.token(key=policies._keys["iothubowner"][1]))).status == 200


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"ttl": -1}, "the token of policy iothubowner has expired"),
        ({"key": "AAAA"}, "the signature matches no key of policy iothubowner"),
        ({"policy": "nobody"}, "no policy is called 'nobody'; the tokens of devices are good for devices only"),
        ({"policy": ""}, "the token names no policy (skn); the tokens of devices are good for devices only"),
        ({"resource": "elsewhere"}, "the token's sr is not the name of this hub"),
    ],
)
async def test_reason_is_in_the_log_and_not_in_the_answer(hub, call, facts, reason):
    """Whoever runs the gateway learns why; whoever asks gets IoT Hub's bare words."""
    assert refused(await call("GET", "/devices/x", auth=call.token(**facts))) == UNAUTHORIZED
    assert f"Service API: GET /devices/x refused: {reason}" in hub.log.getvalue()


async def test_token_expires_by_the_hubs_clock(hub, call):
    """Time that is made to pass passes for tokens; IoT Hub grants nothing after the expiry."""
    auth = call.token(ttl=60)
    hub.clock.advance(60)
    assert (await call("GET", "/devices", auth=auth)).status == 200
    hub.clock.advance(1)
    assert refused(await call("GET", "/devices", auth=auth)) == UNAUTHORIZED


@pytest.mark.parametrize("auth", [False, "Bearer abc", "SharedAccessSignature", "SharedAccessSignature sr=a&sig=b"])
async def test_what_is_no_service_token_is_refused(call, auth):
    """No header, another scheme, half a token."""
    assert refused(await call("GET", "/devices", auth=auth)) == UNAUTHORIZED


async def test_token_of_a_device_is_refused(hub, call):
    """Devices have no business here, though their key is known."""
    hub.gateway.connection_string("press")
    key = hub.gateway.registry.get("press").primary_key
    good = token(key, "", "hub.leafgate.test/devices/press", int(hub.clock.now()) + 60)
    for auth in (good, good.removesuffix("&skn=")):
        assert refused(await call("GET", "/devices/press", auth=auth)) == UNAUTHORIZED


READS = [("GET", "/devices"), ("GET", "/devices/d1"), ("GET", "/devices/d1/modules"), ("GET", "/statistics/devices")]
WRITES = [("PUT", "/devices/d1"), ("DELETE", "/devices/d1"), ("POST", "/devices"), ("PUT", "/devices/d1/modules/m")]
SERVICE = [
    ("GET", "/twins/d1"),
    ("PATCH", "/twins/d1"),
    ("POST", "/twins/d1/methods"),
    ("DELETE", "/devices/d1/commands"),
    ("GET", "/messages/serviceBound/feedback"),
]
ALLOWED = {
    "iothubowner": READS + WRITES + SERVICE,
    "service": SERVICE,
    "device": [],
    "registryRead": READS,
    "registryReadWrite": READS + WRITES,
}


@pytest.mark.parametrize("policy", ALLOWED)
async def test_policy_allows_what_iot_hub_says(call, policy):
    """Each policy opens its own calls and no other; a missing permission is answered like a wrong token."""
    opened = []
    for method, path in READS + WRITES + SERVICE:
        answer = await call(method, path, {}, auth=call.token(policy))
        if answer.status != 401:
            opened.append((method, path))
        else:
            assert refused(answer) == UNAUTHORIZED
    assert opened == ALLOWED[policy]


async def test_keys_are_kept_with_the_state(tmp_path):
    """A connection string stays good over a restart; the file is its owner's alone."""
    async with Gateway(hub_port=0, state=tmp_path / "s") as gateway:
        first = gateway.policies.key("service")
        string = gateway.service_connection_string("service")
        assert string == f"HostName=localhost:{gateway.hub_port};SharedAccessKeyName=service;SharedAccessKey={first}"
    file = tmp_path / "s" / "policies.json"
    assert file.stat().st_mode & 0o777 == 0o600
    async with Gateway(hub_port=0, state=tmp_path / "s") as gateway:
        assert gateway.policies.key("service") == first
        assert (await Caller(gateway)("GET", "/devices")).status == 200


async def test_two_gateways_have_keys_of_their_own(tmp_path):
    """What opens one opens no other."""
    async with Gateway(hub_port=0) as one, Gateway(hub_port=0) as other:
        answer = await Caller(other)("GET", "/devices", auth=Caller(one).token())
        assert refused(answer) == UNAUTHORIZED


async def test_corrupt_file_of_keys_is_left_alone(tmp_path):
    """The gateway does not start with other keys than a back end may have; nothing of the file is quoted."""
    from gateway import GatewayError

    file = tmp_path / "s" / "policies.json"
    file.parent.mkdir()
    file.write_text('{"iothubowner": "c2VjcmV0"}')
    with pytest.raises(GatewayError) as refusal:
        await Gateway(hub_port=0, state=tmp_path / "s").start()
    assert refusal.value.message == f"cannot read the policies {file}: TypeError"
    assert refusal.value.hint == "move the file away to get new keys; it was not changed"
    assert file.read_text() == '{"iothubowner": "c2VjcmV0"}'


async def test_unknown_policy_and_missing_server_are_said(tmp_path):
    """A typo in a policy's name, and a gateway without the service API."""
    from gateway import GatewayError

    async with Gateway(hub_port=0) as gateway:
        with pytest.raises(GatewayError, match="policy 'owner' does not exist"):
            gateway.service_connection_string("owner")
    async with Gateway() as gateway:
        with pytest.raises(GatewayError, match="the gateway has no service API"):
            gateway.service_connection_string()
        assert gateway.hub_root_ca is None


def test_keys_are_in_no_repr(tmp_path):
    """Policies show their names alone."""
    from gateway.upstream.policies import Policies

    policies = Policies({"h"})
    assert repr(policies) == "Policies(iothubowner, service, device, registryRead, registryReadWrite)"


async def test_port_that_is_taken_is_said(tmp_path, caplog):
    """The gateway runs without the service API; the log names the option."""
    async with Gateway(hub_port=0) as first:
        log = logging.getLogger("tests.rest")
        async with Gateway(hub_port=first.hub_port, log=log) as second:
            assert second.hub_port is None
            expected = f"No hub server: cannot listen on 127.0.0.1:{first.hub_port}: address already in use"
    assert expected in caplog.text


async def test_no_key_and_no_token_is_logged(hub, call):
    """Whatever is asked, and however wrong, down to DEBUG."""
    hub.gateway.log.setLevel(logging.DEBUG)
    keys = {key for pair in hub.gateway.policies._keys.values() for key in pair}
    created = await call("PUT", "/devices/d1", {})
    keys |= set(created.body["authentication"]["symmetricKey"].values())
    for auth in (call.token(), call.token(ttl=-1), call.token(policy="x"), "SharedAccessSignature sig=abcdefgh"):
        await call("GET", "/devices/d1", auth=auth)
        await call("PUT", "/devices/d1", body=created.headers["etag"].encode(), auth=auth)
    assert "refused" in hub.log.getvalue()
    assert leaks(hub.log.getvalue(), keys) == []
