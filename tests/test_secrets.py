"""Keys, signatures and private keys show nowhere, whatever goes wrong: the whole product at once.

A leak is looked for by its value (the keys that this test knows) and by its look (any token's signature, any key).
"""

import asyncio
import base64
import io
import logging
import re
import time
import traceback
from urllib.parse import quote, unquote

import pytest

from certs import Authority
from gateway import Gateway
from gateway.events import ClientConnected, ConnectionRefused, HandshakeFailed
from gateway.logs import EdgeHubFormatter, JsonFormatter
from leafsim import ConnectionString, Device, LeafError, sas_token
from scenarios.refusals import Refusals
from tests.scenarios.command import inside

WRONG_KEY = base64.b64encode(bytes(range(32))).decode()
#: any signature or 256-bit key, escaped or not, and any private key
LOOKS_SECRET = re.compile(
    r"sig=(?!\*\*\*)[\w+/%]{6}|SharedAccessKey=(?!\*\*\*)[\w+/%]{6}"
    r"|(?<![\w+/])[A-Za-z0-9+/]{43}=(?!\w)|BEGIN [A-Z ]*PRIVATE KEY"
)

FAILING = """\
# A leaf with a wrong key connects, which is not so.
leaves:
  press-7: {key: wrong}
steps:
  - connect: press-7
"""


def leaks(text, secrets=()):
    """What in `text` is a secret or looks like one."""
    found = [secret for secret in secrets if secret in text or secret in unquote(text)]
    return found + LOOKS_SECRET.findall(text) + LOOKS_SECRET.findall(unquote(text))


def values_of(chain, *connection_strings):
    """Everything secret about a chain and some devices, as it could turn up in a text."""
    keys = [ConnectionString.parse(text).shared_access_key for text in connection_strings]
    lines = {line for level in chain.levels for line in level.key_pem.decode().splitlines() if len(line) > 30}
    return {*keys, *(quote(key, safe="") for key in keys), *(line for line in lines if not line.startswith("-----"))}


def everything_about(error):
    """All that a program could show of an error."""
    parts = (str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error)))
    return "\n".join(parts)


class Ear:
    """A gateway's log in both formats down to DEBUG, its events, and what `leafgate up` says of refused clients."""

    def __init__(self, gateway):
        self.events = []
        self._log = io.StringIO()
        for formatter in (EdgeHubFormatter(), JsonFormatter()):
            handler = logging.StreamHandler(self._log)
            handler.setFormatter(formatter)
            gateway.log.addHandler(handler)
        gateway.log.setLevel(logging.DEBUG)
        gateway.events.subscribe(self.events.append)
        for as_json in (False, True):
            gateway.events.subscribe(Refusals(gateway, as_json=as_json).see)

    def kinds(self):
        """What happened."""
        return {type(event) for event in self.events}

    def text(self):
        """Everything heard."""
        return self._log.getvalue() + "\n".join(map(repr, self.events))


@pytest.fixture(scope="module")
def chain():
    """The documented hierarchy."""
    return Authority().chain()


#: ways to connect that are refused, each with all its secrets in place: what Device is given instead
MISTAKES = {
    "wrong key": lambda good, token: {"connection_string": good.replace(shared_access_key=WRONG_KEY)},
    "expired token": lambda good, token: {"sas_expires": time.time() - 3600},
    "unknown device": lambda good, token: {"connection_string": good.replace(device_id="nobody")},
    "other client id": lambda good, token: {"client_id": "someone-else"},
    "token as user name": lambda good, token: {"username": token},
    "token behind the user name": lambda good, token: {
        "username": f"hub/dev1/?api-version=x&{token}",
        "client_id": "x",
    },
    "token as client id": lambda good, token: {"client_id": token},
    "connection string as user name": lambda good, token: {"username": str(good)},
    "connection string as client id": lambda good, token: {"client_id": str(good)},
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_refused_leaf_shows_no_secret(chain, capfd, caplog, mistake):
    """However a leaf gets its credentials wrong, neither side's words contain them."""
    caplog.set_level(logging.DEBUG)
    async with Gateway(chain=chain) as gateway:
        ear = Ear(gateway)
        text = gateway.connection_string("dev1")
        good = ConnectionString.parse(text)
        token = sas_token(f"{good.host_name}/devices/dev1", good.shared_access_key, int(time.time()) + 3600)
        options = {"connection_string": good, "trust": gateway.root_ca, "port": gateway.mqtt_port}
        device = Device(**(options | mistake(good, token)))
        with pytest.raises(LeafError) as caught:
            await asyncio.to_thread(device.connect)
        assert ConnectionRefused in ear.kinds()
        said = everything_about(caught.value) + ear.text() + caplog.text + "".join(capfd.readouterr())
        assert "dev1" in said or "nobody" in said
        assert leaks(said, {WRONG_KEY, *values_of(chain, text)}) == []


async def test_welcome_leaf_and_distrustful_leaf_show_no_secret(chain, capfd, caplog):
    """A session from CONNECT to DISCONNECT, and a handshake that the leaf refuses."""
    caplog.set_level(logging.DEBUG)
    async with Gateway(chain=chain) as gateway:
        ear = Ear(gateway)
        text = gateway.connection_string("dev1", "mod1")
        options = {"trust": gateway.root_ca, "port": gateway.mqtt_port}
        device = Device(text, **options)
        await asyncio.to_thread(device.connect)
        await asyncio.to_thread(device.send, {"n": 1}, {"colour": "red"})
        await asyncio.to_thread(device.disconnect)
        with pytest.raises(LeafError) as caught:
            await asyncio.to_thread(Device(text, **(options | {"trust": None})).connect)
        said = everything_about(caught.value) + repr(device) + ear.text() + caplog.text + "".join(capfd.readouterr())
        said += repr(gateway.chain) + repr(gateway.registry.get("dev1", "mod1")) + repr(gateway.upstream.inbox.messages)
    assert {ClientConnected, HandshakeFailed} <= ear.kinds()
    assert leaks(said, values_of(chain, text)) == []


@pytest.mark.parametrize(
    "broken",
    ["HostName=h;DeviceId=d;SharedAccessKey={key};Nonsense=1", "hostname=h;DeviceId=d;SharedAccessKey={key}",
     "HostName=h;SharedAccessKey={key}", "HostName=h;DeviceId=d;SharedAccessKey={key}!", "{key}",
     "HostName=h;DeviceId=d;SharedAccessKey {key}", "HostName=h;DeviceId=d;sharedaccesskey={key}"],
)  # fmt: skip
def test_error_about_a_connection_string_does_not_repeat_its_key(broken, capfd):
    """A connection string with a mistake is explained without its key, in Python and on the command line."""
    text = broken.format(key=WRONG_KEY)
    with pytest.raises(LeafError) as caught:
        ConnectionString.parse(text)
    done = inside(capfd, "leaf", "connect", "--connection-string", text, "--trust", "none")
    assert done.returncode == 2
    shown = done.stdout + done.stderr
    assert shown
    assert leaks(shown + str(caught.value) + repr(caught.value) + repr(vars(caught.value)), {WRONG_KEY}) == []


def test_reports_show_no_secret(tmp_path, capfd):
    """Text, JSON and JUnit of scenarios that pass and of one that fails, with everything they know, show none."""
    failing = tmp_path / "never.scenario.yaml"
    failing.write_text(FAILING)
    json_file, junit_file = tmp_path / "report.json", tmp_path / "report.xml"
    what = ("mqtt", "sas", "tls/wrong-root", "tls/full-chain", failing)
    done = inside(capfd, "run", *what, "-v", "--seed", "7", "--json", json_file, "--junit", junit_file)
    assert done.returncode == 1, "one of them fails"
    assert "1 failed" in done.stdout
    reports = done.stdout + done.stderr + json_file.read_text() + junit_file.read_text()
    assert leaks(reports) == []


@pytest.mark.parametrize("secret", [
    f"SharedAccessKey={WRONG_KEY}", quote(f"a={WRONG_KEY}"), WRONG_KEY, "-----BEGIN EC PRIVATE KEY-----",
    sas_token("h/devices/d", WRONG_KEY, 1), quote(sas_token("h/devices/d", WRONG_KEY, 1)),
])  # fmt: skip
def test_search_finds_a_secret_that_is_there(secret):
    """The search that the other tests rely on finds what they look for."""
    assert leaks(f"before {secret} behind") != []
    assert leaks(f"before sig=*** SharedAccessKey=*** {'0f' * 32} behind") == []
