"""A leaf in its own process, whose system store holds the root."""

import json
import subprocess
import sys

import pytest

from leafsim import ConnackRefused, TlsRefused, Unreachable, connect_in_process
from leafsim.process import answer
from tests.leafsim.conftest import KEY, NAME, STRING
from tests.leafsim.responder import CONNECT, DISCONNECT


def _route(responder):
    return {"port": responder.port, "connect_to": {(NAME, responder.port): ("127.0.0.1", responder.port)}}


def test_root_in_the_system_store(serve, root):
    """With the root in its system store (SSL_CERT_FILE) a leaf connects without being given a trust file."""
    responder = serve()
    found = connect_in_process(STRING, store=root, **_route(responder))
    assert found == {"version": 1, "outcome": "connected", "session_present": False, "tls": "TLSv1.3"}
    assert responder.wait(CONNECT)[0].client_id == "press-7"
    responder.wait(DISCONNECT)


def test_root_missing_in_the_system_store(serve, pem):
    """The twin: the same leaf with a store that lacks the root refuses, with the code of the in-process leaf."""
    with pytest.raises(TlsRefused) as caught:
        connect_in_process(STRING, store=pem(b"", "empty.pem"), **_route(serve()))
    assert (caught.value.verify_code, caught.value.verify_message) == (
        19,
        "self-signed certificate in certificate chain",
    )


def test_machine_store_does_not_know_the_root(serve, monkeypatch):
    """store=None leaves the machine's own store in place, which does not know a test root."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(TlsRefused) as caught:
        connect_in_process(STRING, store=None, **_route(serve()))
    assert caught.value.verify_code == 19


def test_refusal_by_the_gateway_crosses_the_process(serve, root):
    """A CONNACK code arrives as the same error that Device raises, and Device's options reach the process."""
    responder = serve(connack=5)
    with pytest.raises(ConnackRefused) as caught:
        connect_in_process(STRING, store=root, client_id="PRESS-7", sas_expires=1, **_route(responder))
    assert caught.value.code == 5
    packet = responder.wait(CONNECT)[0]
    assert (packet.client_id, packet.password.endswith("&se=1")) == ("PRESS-7", True)


def test_unreachable_crosses_the_process(serve, root):
    """So does "nobody listens"."""
    responder = serve()
    responder.close()
    with pytest.raises(Unreachable) as caught:
        connect_in_process(STRING, store=root, **_route(responder))
    assert (caught.value.cause, caught.value.phase) == ("refused", "tcp")


def test_secret_is_no_argument_and_no_environment(serve, root, monkeypatch):
    """The connection string goes through standard input: other users of the machine cannot see it."""
    calls = []
    original = subprocess.run

    def look(command, **options):
        calls.append((command, options["env"]))
        return original(command, **options)

    monkeypatch.setattr(subprocess, "run", look)
    connect_in_process(STRING, store=root, **_route(serve()))
    assert KEY not in str(calls)
    assert calls[0][1]["SSL_CERT_FILE"] == str(root)


def test_mistake_in_the_connection_string_is_an_outcome():
    """What is wrong with the request comes back as JSON too."""
    request = {"connection_string": STRING + ";", "port": 1, "connect_to": [], "timeout": 1, "options": {}}
    found = answer(json.dumps(request))
    assert (found["outcome"], found["problem"]) == ("connection-string", "trailing-semicolon")
    assert KEY not in str(found)


def test_module_prints_one_line():
    """`python -m leafsim.process` answers with exactly one line of JSON."""
    request = {"connection_string": "", "port": 1, "connect_to": [], "timeout": 1, "options": {}}
    command = [sys.executable, "-m", "leafsim.process"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["problem"] == "empty"
