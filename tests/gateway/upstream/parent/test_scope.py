"""What a child asks about its scope, and what it makes of the answers."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.hub.service_identity import Authentication, ServiceIdentity
from gateway.upstream.parent.credentials import Credentials
from gateway.upstream.parent.dial import dial
from gateway.upstream.parent.errors import ParentError
from gateway.upstream.parent.https import post
from gateway.upstream.parent.place import Parent, trust
from gateway.upstream.parent.scope import ScopeQuestions
from tests.gateway.client import PATIENCE
from tests.gateway.upstream.parent.conftest import chain_of

STRING = "HostName=hub.test;DeviceId=edge2;SharedAccessKey=AAAA"


class Asked:
    """A parent with prepared answers, and what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, path, body):
        """Note the question, and answer."""
        self.asked.append((path, dict(body)))
        return self.answers.pop(0)


def questions(*answers, connection=STRING):
    """Questions to a parent, and that parent."""
    parent = Asked(*answers)
    credentials = Credentials(Parent.read("top.test", connection), lambda: 1_700_000_000.0)
    return ScopeQuestions(credentials, parent), parent, credentials


def device(name, *, edge=False, enabled=True, key="AAAA"):
    """A device as it is told."""
    identity = ServiceIdentity(name, keys=(key, key), edge=edge, enabled=enabled, generation_id="1")
    return identity.to_json()


def module(name, owner, key="BBBB"):
    """A module as it is told: without status."""
    document = ServiceIdentity(owner, name, keys=(key, key), generation_id="1").to_json()
    return {field: document[field] for field in ("moduleId", "deviceId", "generationId", "authentication")}


def told(*identities, link=None):
    """An answer."""
    devices = [each for each in identities if "moduleId" not in each]
    modules = [each for each in identities if "moduleId" in each]
    return 200, {"devices": devices, "modules": modules, "continuationLink": link}


async def test_scope_is_read_gateway_by_gateway_and_page_by_page():
    """Each edge device is asked for once, with the chain that leads to it; a link brings the next page."""
    asking, parent, _ = questions(
        told(device("edge2", edge=True), device("press"), device("edge3", edge=True), link="more"),
        told(device("fan")),
        told(device("edge3", edge=True), device("oven"), device("edge4", edge=True)),
        told(device("edge4", edge=True)),
    )
    found = await asking.whole()
    assert [each.client_id for each in found] == ["edge2", "press", "edge3", "fan", "oven", "edge4"]
    path = "/devices/edge2/modules/$edgeHub/devicesAndModulesInTargetDeviceScope?api-version=2020-06-30-preview"
    assert parent.asked == [
        (path, {"pageSize": 1000, "authChain": "edge2"}),
        (path, {"pageSize": 1000, "continuationLink": "more", "authChain": "edge2"}),
        (path, {"pageSize": 1000, "authChain": "edge3;edge2"}),
        (path, {"pageSize": 1000, "authChain": "edge4;edge3;edge2"}),
    ]


async def test_module_is_disabled_with_its_device():
    """It has no status of its own on the wire."""
    asking, _, _ = questions(told(device("edge2", edge=True), device("press", enabled=False), module("m", "press")))
    assert [each.enabled for each in await asking.whole()] == [True, False, False]


async def test_key_of_the_hub_is_learnt_from_an_answer():
    """Tokens name the device until then, and the module from then on; a refused key is learnt anew."""
    asking, _, credentials = questions(told(device("edge2", edge=True), module("$edgeHub", "edge2")))
    assert "sr=hub.test%2Fdevices%2Fedge2&" in credentials.token()
    assert not credentials.complete
    await asking.below("edge2")
    assert "sr=hub.test%2Fdevices%2Fedge2%2Fmodules%2F%24edgeHub&" in credentials.token()
    credentials.forget()
    assert not credentials.complete


async def test_key_that_was_given_stays():
    """With the module's own connection string nothing is learnt and nothing forgotten."""
    given = "HostName=hub.test;DeviceId=edge2;ModuleId=$edgeHub;SharedAccessKey=AAAA"
    asking, _, credentials = questions(told(module("$edgeHub", "edge2", key="CCCC")), connection=given)
    before = credentials.token()
    await asking.below("edge2")
    credentials.forget()
    assert credentials.token() == before


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_status_that_says_not_there(status):
    """One identity: it is not in the scope. The whole: an error that says what was answered."""
    asking, parent, _ = questions((status, {"ErrorMessage": "no"}), (status, {"ErrorMessage": "no"}))
    assert await asking.one("press/m") is None
    assert parent.asked[0][1] == {"targetDeviceId": "press", "targetModuleId": "m", "authChain": "edge2"}
    with pytest.raises(ParentError) as caught:
        await asking.whole()
    assert (caught.value.reason, caught.value.refused) == (
        f"devicesAndModulesInTargetDeviceScope got {status}: no",
        True,
    )


@pytest.mark.parametrize("answer", [(500, None), (200, None), (200, []), (200, {"devices": [{"deviceId": "x"}]})])
async def test_answer_that_is_none_is_no_news_about_an_identity(answer):
    """An error of the parent's, or what cannot be read, removes nobody from the scope; no key is repeated."""
    asking, _, _ = questions(answer)
    with pytest.raises(ParentError) as caught:
        await asking.one("press")
    assert not caught.value.refused


async def test_identity_comes_with_its_authentication():
    """Of a module's answer, which has its device too, the module."""
    asking, _, _ = questions(told(device("press"), module("m", "press")))
    found = await asking.one("press/m")
    assert (found.client_id, found.authentication, found.keys) == ("press/m", Authentication.SAS, ("BBBB", "BBBB"))


@asynccontextmanager
async def listening(first):
    """A server on whose connections `first` happens; its port. Every connection is over when this is."""
    serving = set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        with suppress(ConnectionError):
            await first(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(PATIENCE):
        yield server.sockets[0].getsockname()[1]
        await asyncio.wait(serving)


async def test_who_hangs_up_in_the_handshake_is_told():
    """Neither a name nor a certificate is at fault."""

    async def hang_up(reader, writer):
        await reader.read(1)

    async with listening(hang_up) as port:
        with pytest.raises(ParentError) as caught:
            await dial(("127.0.0.1", port), "top.test", trust(chain_of("top.test").trust_pem))
    assert caught.value.phase == "tls"


async def test_who_speaks_no_tls_is_told():
    """Over MQTT and over HTTPS."""

    async def chat(reader, writer):
        writer.write(b"220 hello\r\n" * 3)
        await writer.drain()
        await reader.read()

    context = trust(chain_of("top.test").trust_pem)
    async with listening(chat) as port:
        parent = Parent("top.test", "hub.test", "edge2", "AAAA", address=("127.0.0.1", port, port))
        for attempt in (
            dial(parent.mqtt, parent.hostname, context),
            post(parent, context, "/", token="t", document={}),
        ):
            with pytest.raises(ParentError) as caught:
                await attempt
            assert caught.value.phase == "tls"
