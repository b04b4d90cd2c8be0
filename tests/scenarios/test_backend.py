"""A test that plays the back end from its own thread, with a real paho client as the device."""

import json
import queue
import ssl
import urllib.request

import paho.mqtt.client as mqtt
import pytest

from gateway import GatewayError, ManualClock, SystemClock
from gateway.events import ClientConnected, HubStarted
from tests.gateway import packets
from tests.gateway.upstream.rest.caller import token

PATIENCE = 20
FILTERS = (
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
    "$iothub/methods/POST/#",
)


class Program:
    """A device program: answers methods, and keeps everything else it is sent."""

    def __init__(self, leaf):
        self.inbox = queue.Queue()
        self._granted = queue.Queue()
        name = leaf.client_id
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, clean_session=False)
        key = leaf.connection_string.partition("SharedAccessKey=")[2].partition(";")[0]
        resource = "hub.leafgate.test/devices/" + name.replace("/", "/modules/")
        token = packets.sas(resource, key, 4_000_000_000)
        self.client.username_pw_set(f"hub.leafgate.test/{name}/?api-version=2021-04-12", token)
        self.client.tls_set_context(ssl.create_default_context(cafile=leaf.gateway.root_ca))
        self.client.on_message = self._take
        self.client.on_subscribe = lambda *_: self._granted.put(None)
        self.client.connect("localhost", leaf.gateway.mqtt_port)
        self.client.loop_start()

    def subscribe(self, *filters):
        """Subscribe and wait for SUBACK."""
        self.client.subscribe([(name, 1) for name in filters])
        self._granted.get(timeout=PATIENCE)

    def _take(self, client, userdata, message):
        if message.topic.startswith("$iothub/methods/POST/"):
            _, _, _, method, query = message.topic.split("/")
            answer = json.dumps({"method": method, "sent": json.loads(message.payload)})
            client.publish(f"$iothub/methods/res/200/{query}", answer, qos=1)
        else:
            self.inbox.put((message.topic, message.payload))

    def next(self):
        """The next message that is no method call."""
        return self.inbox.get(timeout=PATIENCE)

    def stop(self):
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def start(gateway):
    """Start device programs; they end with the test."""
    programs = []

    def start(leaf, *filters):
        programs.append(Program(leaf))
        programs[-1].subscribe(*filters)
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


def test_back_end_sees_and_changes_a_twin(gateway, leaf, start):
    """Desired goes down, reported comes back, complete as soon as the device has its answer."""
    program = start(leaf, *FILTERS)
    assert leaf.update_desired({"speed": 5}) == 2
    assert json.loads(program.next()[1]) == {"speed": 5, "$version": 2}
    for number in range(3):
        program.client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", json.dumps({"n": number}), qos=1)
        assert program.next() == ("$iothub/twin/res/204/?$rid=1", b"")
        assert leaf.reported() == {"n": number}


@pytest.mark.parametrize("module", [None, "filter"])
def test_back_end_calls_a_method(gateway, start, module):
    """Status and payload come back to the test's thread."""
    leaf = gateway.leaf("press", module)
    start(leaf, *FILTERS)
    result = leaf.invoke("reboot", {"delay": 5}, response_timeout=10)
    assert (result.status, result.json()) == (200, {"method": "reboot", "sent": {"delay": 5}})


def test_back_end_calls_a_method_of_an_absent_device(leaf):
    """404, as the cloud would say."""
    assert leaf.invoke("reboot").http_status == 404


def test_back_end_sends_a_message(gateway, leaf, start):
    """Cloud-to-device, text or bytes, with properties."""
    program = start(leaf, "devices/leaf-1/messages/devicebound/#")
    leaf.send("hello", {"colour": "red"}, ack="full")
    topic, body = program.next()
    assert (body, "colour=red" in topic) == (b"hello", True)


def test_back_end_sends_to_an_input(gateway, start):
    """The call returns when the module has acknowledged it, and fails when there is no module."""
    leaf = gateway.leaf("press", "filter")
    with pytest.raises(GatewayError, match="module press/filter did not take the message for input in"):
        leaf.send_to_input("in", b"lost")
    program = start(leaf, "devices/press/modules/filter/inputs/#")
    leaf.send_to_input("in", b"hello", {"k": "v"})
    assert program.next() == ("devices/press/modules/filter/inputs/in/k=v", b"hello")


def test_device_program_comes_back_after_a_renewal(gateway_factory, start):
    """Time passes, Edge Hub restarts for a new certificate, paho connects again by itself and its session is there."""
    clock = ManualClock()
    gateway = gateway_factory(clock=clock, days=365, generation="1.5", key="ec")
    leaf = gateway.leaf("press-7")
    program, connected = start(leaf, *FILTERS), queue.Queue()
    gateway.call(lambda inner: inner.events.subscribe(connected.put))
    clock.advance(31 * 86_400)
    gateway.settled()
    assert sum(isinstance(event, HubStarted) for event in gateway.events) == 1
    gateway.restart()
    assert not gateway.down
    while not isinstance(connected.get(timeout=PATIENCE), ClientConnected):
        pass
    leaf.update_desired({"speed": 3})
    assert program.next() == ("$iothub/twin/PATCH/properties/desired/?$version=2", b'{"speed":3,"$version":2}')


def test_two_hours_pass_for_a_device_program(gateway, leaf):
    """Its token has run out, so the gateway drops it; a clock of the machine cannot be moved."""
    dropped = queue.Queue()
    with leaf.device(sas_ttl=3_600, on_disconnect=dropped.put) as device:
        device.send(b"before")
        gateway.advance(7_200)
        dropped.get(timeout=PATIENCE)


def test_clock_of_the_machine_is_not_moved(gateway_factory):
    """GatewayError says so."""
    with pytest.raises(GatewayError, match="lives by the machine's clock"):
        gateway_factory(clock=SystemClock()).advance(1)


def test_back_end_calls_the_service_api(gateway_factory):
    """A gateway with a `hub_port` has a connection string and a root for back ends; one without has neither."""
    gateway = gateway_factory(hub_port=0)
    host, policy, key = (part.partition("=")[2] for part in gateway.service_connection_string("service").split(";"))
    assert (host, policy) == (f"localhost:{gateway.hub_port}", "service")
    assert gateway.service_connection_string(named=True).startswith("HostName=hub.leafgate.test;")
    gateway.leaf("press-7").update_desired({"speed": 5})
    headers = {"Authorization": token(key, policy, host, 4_000_000_000)}
    asking = urllib.request.Request(f"https://{host}/twins/press-7?api-version=2021-04-12", headers=headers)
    with urllib.request.urlopen(asking, context=ssl.create_default_context(cafile=gateway.hub_root_ca)) as answer:
        assert json.load(answer)["properties"]["desired"]["speed"] == 5
    without = gateway_factory()
    assert (without.hub_port, without.hub_root_ca) == (None, None)
    with pytest.raises(GatewayError, match="the gateway has no service API"):
        without.service_connection_string()
