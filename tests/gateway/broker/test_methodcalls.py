"""Direct methods that a module of the edge device calls over HTTPS."""

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.broker.http import HttpCarrier
from gateway.broker.methodcalls import BadCallError, MethodCalls, read_call
from gateway.broker.routes import Routes
from gateway.broker.server import Head
from gateway.hub.methods import MethodCall, MethodResult
from gateway.upstream import Device
from tests.gateway import packets as p
from tests.gateway import webclient as w
from tests.gateway.broker.test_leaks import settled
from tests.gateway.broker.test_tls import self_signed
from tests.gateway.client import PATIENCE, Client, tls_context

CALL = {"methodName": "reboot", "payload": {"delay": 5}}
UNREADABLE = "Value cannot be null. (Parameter 'methodRequest')"


class Caller:
    """A listener whose method calls end in this object, and the module `leafgate-edge/caller`."""

    def __init__(self, hub):
        self.hub = hub
        self.calls = []
        self.answers = []
        self.arrived = asyncio.Event()
        self.port = None
        hub.gateway.connection_string("leafgate-edge", "caller")
        key = hub.gateway.registry.get("leafgate-edge", "caller").primary_key
        self.token = p.sas(
            f"{hub.gateway.hub_hostname}/devices/leafgate-edge/modules/caller", key, int(hub.clock.now()) + 60
        )

    async def listen(self):
        """Open the listener."""
        server, gateway = self.hub.gateway._process.server, self.hub.gateway
        calls = MethodCalls(
            edge_device_id="leafgate-edge",
            hub_hostname=gateway.hub_hostname,
            judge=server.admission.judge,
            invoke=lambda call, done, caller: self.invoke(call, done),
            report=server.report,
        )
        routes = Routes(calls, server.report)
        head = Head(
            "Started HTTP head on port %d",
            "--https-port",
            lambda host: HttpCarrier(host, routes, self.hub.clock, gateway.settings),
        )
        self.port = await server.listen("127.0.0.1", 0, gateway.log, head)

    def invoke(self, call, done):
        """Take a call; `self.answers` is for the test to call."""
        self.calls.append(call)
        self.answers.append(done)
        self.arrived.set()

    def headers(self, **changed):
        """The headers of a good call, some of them changed or None."""
        fields = {
            "Content-Type": "application/json; charset=utf-8",
            "x-ms-edge-moduleId": "leafgate-edge/caller",
            "Authorization": self.token,
        }
        fields |= {name.replace("_", "-"): value for name, value in changed.items()}
        return [(name, value) for name, value in fields.items() if value is not None]

    async def dial(self, context=None):
        """A connection to the listener."""
        return w.Web(self.hub._keep(await Client.tls(self.port, context or self.hub.context)))

    def post(self, path="/twins/press/methods?api-version=2018-06-30", body=CALL, **changed):
        """A call, good unless something is changed."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return w.request("POST", path, raw, headers=self.headers(**changed))

    async def called(self):
        """The last call, waiting for one."""
        async with asyncio.timeout(PATIENCE):
            await self.arrived.wait()
        return self.calls[-1]


@pytest.fixture
async def caller(hub):
    """A module that may call, on a listener of its own."""
    made = Caller(hub)
    await made.listen()
    return made


# -- calls that go through --------------------------------------------------------------------------------------------


async def test_call_reaches_the_device_and_its_answer_comes_back(caller):
    """Status and payload of the client in the answer's JSON, the payload as the client wrote it."""
    web = await caller.dial()
    web.send(caller.post())
    assert await caller.called() == MethodCall("press", "reboot", b'{"delay":5}', 30.0, 0.0)
    caller.answers[0](MethodResult(207, b'{"ok": 1.0}'))
    status, headers, body = await web.response()
    assert (status, headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert body == b'{"status":207,"payload":{"ok": 1.0}}'


async def test_call_to_a_module_names_both(caller):
    """The module's path; names are unescaped, any case of the path and a slash at its end will do."""
    web = await caller.dial()
    web.send(caller.post("/Twins/pre%73s/Modules/filter%252D1/METHODS/"))
    assert (await caller.called()).client_id == "press/filter-1"


async def test_connection_serves_one_call_after_the_other(caller):
    """Keep-alive, and an answer that comes at once."""
    caller.invoke = lambda call, done: done(MethodResult(200, b""))
    web = await caller.dial()
    for _ in range(3):
        web.send(caller.post())
        assert (await web.response())[2] == b'{"status":200,"payload":null}'


@pytest.mark.parametrize(
    ("result", "status", "message"),
    [
        (MethodResult(None, b"", 404, "Client press not found"), 404, "Client press not found"),
        (MethodResult(None, b"", 504, "Timed out waiting for device"), 504, "Timed out waiting for device"),
    ],
)
async def test_call_that_is_not_answered_says_so(caller, result, status, message):
    """404 when the client is not there, 504 when it does not answer, each with a message."""
    web = await caller.dial()
    web.send(caller.post())
    await caller.called()
    caller.answers[0](result)
    got, headers, body = await web.response()
    assert (got, json.loads(body), headers["content-type"]) == (
        status,
        {"message": message},
        "application/json; charset=utf-8",
    )


# -- end to end, on the gateway's own listener ------------------------------------------------------------------------


async def subscribed(hub):
    """A device, over WebSocket, that takes method calls."""
    device = await hub.join_web()
    device.send(w.binary(p.subscribe(("$iothub/methods/POST/#", 1))))
    await device.packet()
    return device


async def test_device_over_websocket_answers_a_module_over_https(hub):
    """From the module's request to the device and back."""
    made = Caller(hub)
    made.port = hub.gateway.https_port
    device, web = await subscribed(hub), await made.dial()
    web.send(made.post())
    topic, payload = published(await device.packet())
    start, request_id = topic.split("/?$rid=")
    assert (start, payload) == ("$iothub/methods/POST/reboot", b'{"delay":5}')
    device.send(w.binary(p.publish(f"$iothub/methods/res/200/?$rid={request_id}", b'{"done":true}')))
    status, _, body = await web.response()
    assert (status, body) == (200, b'{"status":200,"payload":{"done":true}}')


async def test_device_that_is_not_there_is_404(hub):
    """At once without a connect timeout, after it with one."""
    made = Caller(hub)
    made.port = hub.gateway.https_port
    web = await made.dial()
    web.send(made.post())
    status, _, body = await web.response()
    assert (status, json.loads(body)) == (404, {"message": "Client press not found"})
    web.send(made.post(body=CALL | {"connectTimeoutInSeconds": 20}))
    async with asyncio.timeout(PATIENCE):
        while hub.log.getvalue().count("Unable to invoke method on client press") < 2:
            await hub.turn()
    hub.clock.elapse(21)
    assert (await web.response())[0] == 404


async def test_device_that_does_not_answer_is_504(hub):
    """After the response timeout."""
    made = Caller(hub)
    made.port = hub.gateway.https_port
    device, web = await subscribed(hub), await made.dial()
    web.send(made.post(body=CALL | {"responseTimeoutInSeconds": 7}))
    await device.packet()
    hub.clock.elapse(8)
    status, _, body = await web.response()
    assert status == 504
    assert "Timed out waiting for device to respond" in json.loads(body)["message"]


def published(packet):
    """Topic and payload of a short PUBLISH of QoS 1."""
    size = int.from_bytes(packet[2:4], "big")
    return packet[4 : 4 + size].decode(), packet[6 + size :]


async def test_connection_waits_as_long_as_the_call(caller):
    """Neither the connect timeout nor the keep-alive of HTTP ends a connection whose call is under way."""
    web = await caller.dial()
    web.send(caller.post(body=CALL | {"responseTimeoutInSeconds": 300, "connectTimeoutInSeconds": 300}))
    await caller.called()
    caller.hub.clock.elapse(600)
    caller.answers[0](MethodResult(200, b"1"))
    assert (await web.response())[0] == 200


async def test_call_that_nobody_answers_ends_at_last(caller):
    """A minute past its own timeouts: 504 and the end, so that no connection stays for ever."""
    web = await caller.dial()
    web.send(caller.post())
    await caller.called()
    caller.hub.clock.elapse(91)
    assert (await web.response())[0] == 504
    await web.eof()
    caller.answers[0](MethodResult(200, b""))  # too late: reaches nobody, harms nobody


async def test_caller_that_has_left_is_not_missed(caller):
    """The answer comes after the connection is gone."""
    web = await caller.dial()
    web.send(caller.post())
    await caller.called()
    web.abort()
    await settled(caller.hub)
    caller.answers[0](MethodResult(200, b""))


async def test_client_that_sends_on_during_a_call_is_bounded(caller):
    """A little waits, and then the connection closes behind the answer; too much ends it."""
    web = await caller.dial()
    web.send(caller.post() + w.request())
    await caller.called()
    caller.answers[0](MethodResult(200, b""))
    assert (await web.response())[1]["connection"] == "close"
    await web.eof()
    web = await caller.dial()
    web.send(caller.post() + b"x" * 70_000)
    await web.eof()
    assert "the client sends on while it waits for an answer" in caller.hub.log.getvalue()


# -- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "leafgate-edge", "caller", "/", "leafgate-edge/", "/caller", ""])
async def test_header_has_to_name_a_module(caller, value):
    """400 with the header's name."""
    web = await caller.dial()
    web.send(caller.post(x_ms_edge_moduleId=value))
    status, _, body = await web.response()
    assert (status, json.loads(body)) == (400, {"message": "Invalid header value for x-ms-edge-moduleId"})
    assert not caller.calls


async def test_module_of_another_device_may_not_call(caller):
    """401, before its token is looked at; the case of the id counts."""
    web = await caller.dial()
    for value in ("press/caller", "Edge/caller"):
        web.send(caller.post(x_ms_edge_moduleId=value))
        status, _, body = await web.response()
        message = "Only modules on the same device can invoke DirectMethods"
        assert (status, json.loads(body)) == (401, {"message": message})
    assert not caller.calls


async def refused(caller, web, message, **changed):
    """Send a call that gets 401 with this message."""
    web.send(caller.post(**changed))
    status, _, body = await web.response()
    assert (status, json.loads(body)) == (401, {"message": message})
    assert not caller.calls
    assert f"[ERR] - Http Authentication failed due to following issue - {message}" in caller.hub.log.getvalue()


async def test_token_is_judged_by_the_rules_of_connect(caller):
    """Wrong key, other audience, expired, malformed, none, another scheme: 401 with the product's words."""
    hub, web = caller.hub, await caller.dial()
    name, key = hub.gateway.hub_hostname, hub.gateway.registry.get("leafgate-edge", "caller").primary_key
    good, now = f"{name}/devices/leafgate-edge/modules/caller", int(hub.clock.now())
    unable = "Unable to authenticate device with Id leafgate-edge/caller"
    parse = "Cannot parse SharedAccessSignature because of the following error - "
    await refused(caller, web, unable, Authorization=p.sas(good, "AAAA", now + 60))
    assert (
        "Error authenticating token for leafgate-edge/caller because the signature matches neither"
        in hub.log.getvalue()
    )
    await refused(caller, web, unable, Authorization=p.sas(f"{name}/devices/press", key, now + 60))
    await refused(caller, web, parse + "The specified SAS token is expired", Authorization=p.sas(good, key, now - 301))
    await refused(caller, web, parse + "Malformed signature", Authorization="SharedAccessSignature x")
    await refused(caller, web, "Authorization header missing", Authorization=None)
    basic = "Invalid Authorization header. Only SharedAccessSignature is supported."
    await refused(caller, web, basic, Authorization="Basic eDp5")
    await refused(caller, web, "Authorization header missing", path="/twins/press/methods?Authorization=x")
    assert "sig=" not in hub.log.getvalue()


async def test_token_of_an_unknown_or_disabled_module_is_refused(caller):
    """401, and the log says which; a token five minutes late still passes."""
    hub, web = caller.hub, await caller.dial()
    await refused(
        caller,
        web,
        "Unable to authenticate device with Id leafgate-edge/other",
        x_ms_edge_moduleId="leafgate-edge/other",
    )
    hub.clock.advance(60 + 299)
    web.send(caller.post())
    await caller.called()


async def test_primary_key_of_the_edge_device_will_do(caller):
    """A module may use its device's key, as in CONNECT."""
    hub, web = caller.hub, await caller.dial()
    key = hub.gateway.registry.get("leafgate-edge").primary_key
    token = p.sas(f"{hub.gateway.hub_hostname}/devices/leafgate-edge/modules/caller", key, int(hub.clock.now()) + 60)
    web.send(caller.post(Authorization=token))
    await caller.called()


async def test_two_tokens_are_refused(caller):
    """One Authorization header, not two."""
    web = await caller.dial()
    headers = [*caller.headers(), ("Authorization", caller.token)]
    web.send(w.request("POST", "/twins/press/methods", json.dumps(CALL).encode(), headers=headers))
    assert json.loads((await web.response())[2]) == {"message": "Invalid authorization header count"}


async def test_client_certificate_wins_over_the_token(caller, chain, tmp_path):
    """Unlike in CONNECT; and modules with certificates are always refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "caller.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(self_signed(key).public_bytes(Encoding.PEM) + secret)
    web = await caller.dial(tls_context(chain, certificate=path))
    await refused(caller, web, "Unable to authenticate device with Id leafgate-edge/caller")
    assert (
        "Error authenticating certificate for leafgate-edge/caller because modules cannot" in caller.hub.log.getvalue()
    )


# -- the body ---------------------------------------------------------------------------------------------------------


async def test_bad_body_is_refused_before_anything_else(caller):
    """400 with the product's sentence as text, whoever asks."""
    web = await caller.dial()
    web.send(caller.post(body=CALL | {"methodName": "x" * 101}, Authorization=None, x_ms_edge_moduleId=None))
    status, headers, body = await web.response()
    assert (status, headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert body == b"MethodName cannot be longer than 100"


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_body_has_to_be_called_json(caller, kind):
    """415, as ASP.NET answers; text/json and anything+json will do."""
    web = await caller.dial()
    web.send(caller.post(Content_Type=kind))
    assert (await web.response())[0] == 415
    web.send(caller.post(Content_Type="application/vnd.test+json"))
    await caller.called()


RANGE = "Specified argument was out of the range of valid values. (Parameter '{}')"
CONNECT = RANGE.format("ConnectTimeout has to be between 0 and 300 seconds.")
RESPONSE = RANGE.format("ResponseTimeout has to be between 5 and 300 seconds.")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", UNREADABLE),
        (b"null", UNREADABLE),
        (b"[]", UNREADABLE),
        (b"{", UNREADABLE),
        (b"\xff", UNREADABLE),
        (b"[" * 100_000, UNREADABLE),
        (b'{"methodName":"x","payload":NaN}', UNREADABLE),
        (b'{"methodName":"x","payload":1e999}', UNREADABLE),
        (b"{}", UNREADABLE),
        (b'{"methodName":null}', UNREADABLE),
        (b'{"methodName":7}', UNREADABLE),
        (b'{"methodName":" "}', "MethodName is null or whitespace."),
        (b'{"methodName":"x","responseTimeoutInSeconds":4}', RESPONSE),
        (b'{"methodName":"x","responseTimeoutInSeconds":301}', RESPONSE),
        (b'{"methodName":"x","responseTimeoutInSeconds":true}', UNREADABLE),
        (b'{"methodName":"x","responseTimeoutInSeconds":"soon"}', UNREADABLE),
        (b'{"methodName":"x","connectTimeoutInSeconds":-1}', CONNECT),
        (b'{"methodName":"x","connectTimeoutInSeconds":301}', CONNECT),
        (b'{"methodName":"x","payload":"' + b"y" * 131_071 + b'"}', "Payload should not be greater than 131072 bytes."),
    ],
)
def test_body_that_is_no_call_is_refused(body, message):
    """Each with the product's sentence."""
    with pytest.raises(BadCallError) as wrong:
        read_call(body, ("press", None))
    assert str(wrong.value) == message


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ({"methodName": "x"}, MethodCall("press", "x", b"null", 30.0, 0.0)),
        ({"METHODNAME": "x" * 100, "Payload": None}, MethodCall("press", "x" * 100, b"null", 30.0, 0.0)),
        (
            {"methodName": "x", "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 300, "more": 1},
            MethodCall("press", "x", b"null", 5.0, 300.0),
        ),
        ({"methodName": "x", "responseTimeoutInSeconds": "300"}, MethodCall("press", "x", b"null", 300.0, 0.0)),
        ({"methodName": "x", "payload": "y" * 131_070}, MethodCall("press", "x", b'"' + b"y" * 131_070 + b'"')),
        ({"methodName": "x", "payload": "\ud800ü"}, MethodCall("press", "x", b'"\\ud800\\u00fc"')),
        ({"methodName": "x", "payload": [1, {"ü": 2}]}, MethodCall("press", "x", '[1,{"ü":2}]'.encode())),
    ],
)
def test_body_at_its_limits_is_a_call(body, call):
    """Defaults, limits, names in any case; the payload is written anew without white space."""
    assert read_call(json.dumps(body).encode(), ("press", None)) == call


def test_blank_target_is_refused():
    """The parameter's name is in the sentence."""
    with pytest.raises(BadCallError, match=r"^deviceId is null or whitespace\.$"):
        read_call(b'{"methodName":"x"}', ("%20", None))
    with pytest.raises(BadCallError, match=r"^moduleId is null or whitespace\.$"):
        read_call(b'{"methodName":"x"}', ("press", "+"))


async def test_disabled_module_may_not_call(caller):
    """401, and the log says that it is disabled."""
    hub = caller.hub
    device = Device("leafgate-edge", "off", enabled=False, primary_key="AAAA")
    hub.gateway.registry.add(device)
    token = p.sas(f"{hub.gateway.hub_hostname}/devices/leafgate-edge/modules/off", "AAAA", int(hub.clock.now()) + 60)
    web = await caller.dial()
    message = "Unable to authenticate device with Id leafgate-edge/off"
    await refused(caller, web, message, x_ms_edge_moduleId="leafgate-edge/off", Authorization=token)
    assert "leafgate-edge/off is disabled" in hub.log.getvalue()
