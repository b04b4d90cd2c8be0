"""From what the user gives to what is checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certs import layout
from certs.errors import CertsError
from scenarios.check.sources import Inputs, find, here
from scenarios.check.subject import AMQP, HTTPS, MQTT
from scenarios.errors import ScenariosError
from tests.scenarios.check.conftest import Served, authority


def ready_file(folder: Path, **changes: object) -> Path:
    """A ready file as `leafgate up` writes it."""
    facts = {
        "version": 1,
        "hostname": "gw.factory.test",
        "bind": "0.0.0.0",
        "mqtt_port": 8883,
        "https_port": 443,
        "root_ca": str(folder / "root.pem"),
        "state": str(folder),
        "leaves": {"dev1": "HostName=h;DeviceId=dev1;SharedAccessKey=c2VjcmV0"},
    }
    path = folder / "ready.json"
    path.write_text(json.dumps(facts | changes))
    return path


def test_address_of_the_usual_port_has_the_usual_ports_beside_it() -> None:
    """8883 goes with 443 and 5671; the name is the host's, and nothing is known of what leaves trust."""
    found = find(Inputs(address="localhost:8883"))
    assert found.heads == {MQTT: ("localhost", 8883), HTTPS: ("localhost", 443), AMQP: ("localhost", 5671)}
    assert (found.name, found.trust, found.hub) == ("localhost", None, {})


def test_address_of_another_port_leaves_the_others_open() -> None:
    """Where the other ports are cannot be guessed; the user may say."""
    found = find(Inputs(address="localhost:1884", amqp_port=1885))
    assert found.heads[AMQP] == ("localhost", 1885)
    assert found.heads[HTTPS] == "port 1884 is not the usual one, so where this one is is not known: give --https-port"


def test_ready_file_tells_where_and_whom_to_trust(tmp_path: Path) -> None:
    """Name, ports, root; a wildcard address is reached by loopback."""
    found = find(Inputs(ready_file=ready_file(tmp_path)))
    assert found.heads == {
        MQTT: ("127.0.0.1", 8883),
        HTTPS: ("127.0.0.1", 443),
        AMQP: "leafgate's Edge Hub does not speak AMQP",
    }
    assert (found.name, found.trust) == ("gw.factory.test", tmp_path / "root.pem")
    assert "c2VjcmV0" not in repr(found)


def test_ready_file_of_a_gateway_without_https_says_so(tmp_path: Path) -> None:
    """A null is no port."""
    assert find(Inputs(ready_file=ready_file(tmp_path, https_port=None))).heads[HTTPS] == (
        "this gateway has no HTTPS port"
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', "\x00", '{"version": 1, "hostname": "gw"}'])
def test_file_that_is_no_ready_file_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever it is, it is told to be none."""
    path = tmp_path / "ready.json"
    path.write_text(text)
    with pytest.raises(ScenariosError, match="is no ready file"):
        find(Inputs(ready_file=path))


def test_state_folder_tells_name_and_trust(tmp_path: Path) -> None:
    """Its name does not resolve to this machine, so nothing is connected to unasked."""
    layout.save(authority().chain(), tmp_path)
    found = find(Inputs(state=tmp_path))
    assert (found.name, found.trust) == ("gw.factory.test", layout.trust_file(tmp_path))
    assert found.heads[MQTT] == "gw.factory.test is no name of this machine's loopback addresses: give HOST:PORT"


def test_state_folder_of_a_local_name_is_looked_for_on_the_usual_ports(tmp_path: Path) -> None:
    """`leafgate up --state` listens there by default."""
    layout.save(authority(hostname="localhost").chain(), tmp_path)
    assert find(Inputs(state=tmp_path)).heads[MQTT] == (here("localhost"), 8883)


def test_user_overrides_what_files_say(tmp_path: Path, served: Served) -> None:
    """HOST:PORT, --name and --trust win."""
    trust = tmp_path / "own.pem"
    trust.write_bytes(served.gateway.chain.trust_pem)
    inputs = Inputs(address="127.0.0.1:9", ready_file=ready_file(tmp_path), name="other.test", trust=trust)
    found = find(inputs)
    assert (found.heads[MQTT], found.name, found.trust) == (("127.0.0.1", 9), "other.test", trust)


def test_hub_that_the_user_names_is_connected_to() -> None:
    """Only then does traffic leave this machine."""
    found = find(Inputs(address="localhost:8883", hub="my-hub.azure-devices.net"))
    assert found.hub[HTTPS] == ("my-hub.azure-devices.net", 443)


@pytest.mark.parametrize(
    ("inputs", "kind", "words"),
    [
        (Inputs(), ScenariosError, "there is nothing to check"),
        (Inputs(address="localhost:http"), CertsError, "is not HOST:PORT"),
        (Inputs(address="localhost:8883", trust=Path("/no/such/root.pem")), CertsError, "cannot be read"),
        (Inputs(state=Path("/no/such/state")), CertsError, "cannot be read"),
        (Inputs(ready_file=Path("/no/such/ready.json")), CertsError, "cannot be read"),
    ],
)
def test_wrong_input_is_told_with_a_way_out(inputs: Inputs, kind: type[Exception], words: str) -> None:
    """A user's mistake is one sentence and a hint, with exit code 2."""
    with pytest.raises(kind, match=words) as refused:
        find(inputs)
    assert refused.value.exit_code == 2
    assert refused.value.hint


@pytest.mark.parametrize(("name", "found"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("192.0.2.1", None)])
def test_only_loopback_is_here(name: str, found: str | None) -> None:
    """An address elsewhere is not connected to unasked; a name too long for DNS is nowhere."""
    assert here(name) == found
    assert here("a" * 300) is None
