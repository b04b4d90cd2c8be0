"""Edge Hub's metrics over HTTP, each moved by real traffic."""

import asyncio
import json
import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import Settings
from gateway.events import ClientDisconnected, ConnectionRefused
from gateway.hub import metrics
from gateway.hub.metrics import METRICS, Meter
from tests.gateway import packets as p
from tests.gateway.client import PATIENCE

HUB = "leafgate-edge/$edgeHub"
RESPONSES = ("$iothub/twin/res/#", 1)
METHODS = ("$iothub/methods/POST/#", 1)
INPUTS = ("devices/leafgate-edge/modules/filter/inputs/#", 1)
TAGS = ("iothub", "edge_device", "instance_number", "ms_telemetry")


async def fetch(port, path="/metrics", host="localhost"):
    """Status, headers and body of a GET."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), body.decode()


async def samples(hub):
    """Every sample by its name without prefix, and its own labels."""
    _, _, text = await fetch(hub.gateway.metrics_port)
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = frozenset((name, value) for name, value in one.labels.items() if name not in TAGS)
            found[one.name.removeprefix("edgehub_"), labels] = one.value
    return found


async def value(hub, name, **labels):
    """One sample; None when it is not there. A label `from_` is `from`."""
    wanted = frozenset((label.removesuffix("_") if label == "from_" else label, text) for label, text in labels.items())
    return (await samples(hub)).get((name, wanted))


@pytest.fixture
async def hub(start):
    """A gateway with metrics."""
    return await start(metrics_port=0)


async def device(hub, *filters, name="press", module=None):
    """A connected device or module with these subscriptions."""
    client = await hub.join(name, module)
    if filters:
        client.send(p.subscribe(*filters))
        await client.packet()
    return client


async def publish(client, topic="devices/press/messages/events/", body=b"12345"):
    """Publish and wait for PUBACK."""
    client.send(p.publish(topic, body))
    assert await client.packet() == p.puback()


async def passing(hub, seconds):
    """Let time pass for everything."""
    for _ in range(seconds):
        hub.clock.elapse(1)
        await hub.turn()


def routes(hub, ttl=7200, **wanted):
    """Configure $edgeHub."""
    store = {"timeToLiveSecs": ttl}
    desired = {"schemaVersion": "1.1", "routes": wanted, "storeAndForwardConfiguration": store}
    hub.gateway.upstream.twins.update_desired(HUB, desired)


async def test_text_format_with_the_tags_of_the_product(hub):
    """Prometheus' own parser reads it; each sample says which hub and gateway it is of, and which life of Edge Hub."""
    await publish(await device(hub))
    status, head, text = await fetch(hub.gateway.metrics_port)
    assert (status, "content-type: text/plain; version=0.0.4" in head) == (200, True)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    received = families["edgehub_messages_received"]
    assert (received.type, families["edgehub_message_size_bytes"].type) == ("counter", "summary")
    (sample,) = received.samples
    instance = sample.labels["instance_number"]
    assert sample.labels == {
        "iothub": "hub.leafgate.test",
        "edge_device": "leafgate-edge",
        "instance_number": instance,
        "route_output": "",
        "id": "press",
        "ms_telemetry": "True",
    }
    assert {one.labels["instance_number"] for family in families.values() for one in family.samples} == {instance}


async def test_received_and_sent_messages_are_counted_with_their_size(hub):
    """By client; body, names and values are the size."""
    leaf = await device(hub)
    await publish(leaf)
    await publish(leaf, "devices/press/messages/events/a=bc&%24.mid=x")
    assert await value(hub, "messages_received_total", id="press", route_output="") == 2
    assert await value(hub, "message_size_bytes_count", id="press") == 2
    assert await value(hub, "message_size_bytes_sum", id="press") == 5 + 5 + len("abc") + len("message-idx")
    assert await value(hub, "message_size_bytes", id="press", quantile="0.5") == 19
    way = {"from_": "press", "to": "upstream", "from_route_output": "", "to_route_input": ""}
    assert await value(hub, "messages_sent_total", **way, priority="2000000000") == 2
    assert await value(hub, "message_send_duration_seconds_count", **way) == 2
    await passing(hub, 601)
    assert math.isnan(await value(hub, "message_size_bytes", id="press", quantile="0.5"))


async def test_time_that_messages_take_is_what_the_clock_says(hub):
    """On the way over a slow link, and in the queue besides."""
    leaf = await device(hub)
    hub.gateway.upstream.link.switch("slow", latency=4)
    await publish(leaf)
    await passing(hub, 4)
    way = {"from_": "press", "to": "upstream"}
    send = {**way, "from_route_output": "", "to_route_input": ""}
    assert await value(hub, "message_send_duration_seconds_sum", **send) == 4
    assert await value(hub, "message_process_duration_seconds_sum", **way, priority="2000000000") == 4


async def test_modules_are_counted_with_output_and_input(hub):
    """From an output of one module to an input of another."""
    routes(hub, one='FROM /messages/modules/source/outputs/out INTO BrokeredEndpoint("/modules/filter/inputs/in")')
    source, target = await device(hub, name="leafgate-edge", module="source"), None
    target = await device(hub, INPUTS, name="leafgate-edge", module="filter")
    await publish(source, "devices/leafgate-edge/modules/source/messages/events/%24.on=out")
    await target.packet()
    target.send(p.puback(), p.PINGREQ)
    await target.packet()
    from_, to = "leafgate-edge/source", "leafgate-edge/filter"
    assert await value(hub, "messages_received_total", id=from_, route_output="out") == 1
    way = {"from_": from_, "to": to, "from_route_output": "out", "to_route_input": "in"}
    assert await value(hub, "messages_sent_total", **way, priority="2000000000") == 1


async def test_message_with_two_routes_is_received_once_and_sent_twice(hub):
    """What is counted is the message, not its copies."""
    both = 'FROM /messages/* INTO BrokeredEndpoint("/modules/filter/inputs/in")'
    routes(hub, up="FROM /messages/* INTO $upstream", down=both)
    target = await device(hub, INPUTS, name="leafgate-edge", module="filter")
    await publish(await device(hub))
    await target.packet()
    target.send(p.puback(), p.PINGREQ)
    await target.packet()
    assert await value(hub, "messages_received_total", id="press", route_output="") == 1
    assert await value(hub, "message_size_bytes_count", id="press") == 1
    assert await value(hub, "message_size_bytes_sum", id="press") == 5
    ways = [key for key in await samples(hub) if key[0] == "messages_sent_total"]
    assert len(ways) == 2


async def test_message_without_a_route_is_received_and_dropped(hub):
    """Reason no_route."""
    routes(hub, one="FROM /messages/modules/* INTO $upstream")
    await publish(await device(hub))
    assert await value(hub, "messages_received_total", id="press", route_output="") == 1
    assert await value(hub, "messages_dropped_total", reason="no_route", from_="press", from_route_output="") == 1
    assert await value(hub, "messages_sent_total", from_="press") is None


async def test_messages_that_outlive_their_time_are_dropped_and_the_queue_shrinks(hub):
    """Reason ttl_expiry; what is under way is still waiting."""
    routes(hub, ttl=3600, up="FROM /messages/* INTO $upstream")
    leaf = await device(hub)
    hub.gateway.upstream.link.switch("refused")
    for _ in range(3):
        await publish(leaf)
    queue = {"endpoint": "$upstream", "priority": "2000000000"}
    assert await value(hub, "queue_length", **queue) == 3
    hub.clock.advance(3601)
    await hub.turn()
    dropped = await value(hub, "messages_dropped_total", reason="ttl_expiry", from_="press", from_route_output="")
    assert dropped in (2, 3)
    hub.gateway.upstream.online = True
    await passing(hub, 1)
    assert await value(hub, "queue_length", **queue) == 0


async def test_messages_that_cannot_be_stored_are_not_acknowledged(hub, monkeypatch):
    """Reason storage_failure; the connection ends."""
    from gateway.errors import StoreError

    leaf = await device(hub)

    def full(*_):
        raise StoreError("messages cannot be stored: disk full", "make room")

    monkeypatch.setattr(hub.gateway._process.server.intake._store, "write", full)
    leaf.send(p.publish())
    await leaf.eof()
    labels = {"reason": "storage_failure", "from_": "press", "from_route_output": ""}
    assert await value(hub, "messages_unack_total", **labels) == 1
    assert await value(hub, "messages_received_total", id="press", route_output="") == 1


async def test_messages_of_a_refused_device_are_not_sent(hub):
    """IoT Hub has not taken them."""
    leaf = await device(hub)
    hub.gateway.upstream.link.unauthorized.add("press")
    await publish(leaf)
    assert await value(hub, "messages_received_total", id="press", route_output="") == 1
    assert [key for key in await samples(hub) if key[0] == "messages_sent_total"] == []


async def test_twin_requests_are_counted_here_and_above(hub):
    """source edge_hub is what devices ask, upstream what Edge Hub asks and gets."""
    leaf = await device(hub, RESPONSES)
    for state in ("slow", "refused"):
        hub.gateway.upstream.link.switch(state, latency=2)
        leaf.send(p.publish("$iothub/twin/GET/?$rid=1", b"", qos=0), p.PINGREQ)
        await leaf.packet()
        await passing(hub, 2)
    assert await value(hub, "gettwin_total", source="edge_hub", id="press") == 2
    assert await value(hub, "gettwin_total", source="upstream", id="press") == 1
    assert await value(hub, "gettwin_duration_seconds_sum", source="edge_hub", id="press") == 2
    assert await value(hub, "gettwin_duration_seconds_count", source="upstream", id="press") == 1
    assert await value(hub, "gettwin_total", source="upstream", id=HUB) == 1
    assert await value(hub, "operation_retry_total", id="press", operation="GetTwinAsync") == 1


async def test_reported_changes_are_counted_here_and_above(hub):
    """Two of a device, gathered into one by Edge Hub after the first."""
    leaf = await device(hub, RESPONSES)
    for number in range(3):
        leaf.send(
            p.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", json.dumps({"a": number}).encode(), qos=0)
        )
        await leaf.packet()
    await passing(hub, 5)
    name = "reported_properties"
    assert await value(hub, f"{name}_total", target="edge_hub", id="press") == 3
    assert await value(hub, f"{name}_total", target="upstream", id="press") == 2
    assert await value(hub, f"{name}_update_duration_seconds_count", target="edge_hub", id="press") == 3
    assert await value(hub, f"{name}_update_duration_seconds_count", target="upstream", id="press") == 2


async def test_method_calls_are_counted_and_timed(hub):
    """From the cloud; until the device has answered."""
    leaf = await device(hub, METHODS)
    call = asyncio.create_task(hub.gateway.invoke_method("press", "stop"))
    topic = p.read_publish(await leaf.packet())[0]
    await passing(hub, 3)
    leaf.send(p.puback(), p.publish(f"$iothub/methods/res/200/?$rid={topic.rpartition('=')[2]}", b"1", qos=0))
    assert (await call).status == 200
    assert await value(hub, "direct_methods_total", from_="upstream", to="press") == 1
    assert await value(hub, "direct_method_duration_seconds_sum", from_="upstream", to="press") == 3


async def test_outages_are_counted_and_timed(hub):
    """From when Edge Hub believes in it to when it knows that it is over."""
    await passing(hub, 1)
    hub.gateway.upstream.link.switch("refused", noticed=True)
    await passing(hub, 30)
    hub.gateway.upstream.link.switch("up", noticed=True)
    for _ in range(2):  # asking changes nothing
        assert await value(hub, "offline_count_total", id=HUB) == 1
        assert await value(hub, "offline_duration_seconds_sum", id=HUB) == 30


async def test_messages_that_are_sent_again_count_as_retries(hub):
    """By client and operation."""
    leaf = await device(hub)
    hub.gateway.upstream.link.switch("refused")
    await publish(leaf)
    await passing(hub, 3)
    assert await value(hub, "operation_retry_total", id="press", operation="SendMessageAsync") == 3


async def test_clients_that_come_go_and_are_refused(hub):
    """Each by its id; how many are there now."""
    leaf = await device(hub)
    await device(hub, name="mill")
    assert await value(hub, "connected_clients") == 2
    leaf.send(p.DISCONNECT)
    await hub.event(ClientDisconnected)
    bad = await hub.dial()
    bad.send(p.connect("press", username=f"{hub.gateway.hub_hostname}/press/?api-version=1", password="x"))
    await hub.event(ConnectionRefused)
    assert await value(hub, "client_connect_success_total", id="press") == 1
    assert await value(hub, "client_disconnect_total", id="press") == 1
    assert await value(hub, "client_connect_failed_total", id="press", reason="not_authenticated") == 1
    assert await value(hub, "connected_clients") == 1


async def test_restart_begins_anew(hub):
    """Everything is zero and the instance another one; while Edge Hub is down there is nothing."""
    await publish(await device(hub))
    _, _, before = await fetch(hub.gateway.metrics_port)
    await hub.gateway.exit()
    assert (await fetch(hub.gateway.metrics_port))[2].strip() == ""
    await hub.gateway.boot()
    assert await value(hub, "messages_received_total", id="press", route_output="") is None
    _, _, after = await fetch(hub.gateway.metrics_port)
    instances = [text.partition('instance_number="')[2][:36] for text in (before, after)]
    assert instances[0] != instances[1]


async def test_two_gateways_count_apart(hub, start):
    """Nothing is shared."""
    other = await start(metrics_port=0)
    await publish(await device(hub))
    assert await value(other, "messages_received_total", id="press", route_output="") is None


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/metrics", "edgehub:9600", 200), ("/metrics/", "127.0.0.1", 200), ("/", "localhost", 404),
     ("/metrics", "evil.example", 421)],
)  # fmt: skip
async def test_path_and_names(hub, path, host, status):
    """Only /metrics is there; the server answers to this machine's names and to the one that modules use."""
    assert (await fetch(hub.gateway.metrics_port, path, host))[0] == status


async def test_names_that_strangers_make_up_are_bounded(start, monkeypatch):
    """What is beyond is not counted; what is known goes on."""
    monkeypatch.setattr(metrics, "MOST_SERIES", 1)
    hub = await start(metrics_port=0, settings=Settings(scope_refresh_wait=0.001))
    await device(hub)
    await device(hub, name="mill")
    (await device(hub)).send(p.PINGREQ)
    assert await value(hub, "client_connect_success_total", id="press") == 2
    assert await value(hub, "client_connect_success_total", id="mill") is None


def test_every_metric_of_the_documentation_is_there():
    """By its name and labels in doc/BuiltInMetrics.md."""
    assert {name: set(metric.labels) for name, metric in METRICS.items()} == {
        "gettwin": {"source", "id"},
        "messages_received": {"route_output", "id"},
        "messages_sent": {"from", "to", "from_route_output", "to_route_input", "priority"},
        "reported_properties": {"target", "id"},
        "message_size_bytes": {"id"},
        "gettwin_duration_seconds": {"source", "id"},
        "message_send_duration_seconds": {"from", "to", "from_route_output", "to_route_input"},
        "message_process_duration_seconds": {"from", "to", "priority"},
        "reported_properties_update_duration_seconds": {"target", "id"},
        "direct_method_duration_seconds": {"from", "to"},
        "direct_methods": {"from", "to"},
        "queue_length": {"endpoint", "priority"},
        "messages_dropped": {"reason", "from", "from_route_output"},
        "messages_unack": {"reason", "from", "from_route_output"},
        "offline_count": {"id"},
        "offline_duration_seconds": {"id"},
        "operation_retry": {"id", "operation"},
        "client_connect_failed": {"id", "reason"},
        "client_connect_success": {"id"},
        "client_disconnect": {"id"},
        "connected_clients": set(),
    }


def test_quantiles_of_known_observations():
    """The smallest value that so many are not above; the latest thousand count."""
    meter = Meter(lambda: 0.0, lambda: 0.0)
    for number in range(2_000):
        meter.observe("offline_duration_seconds", float(number), "x")
    summary = meter.summaries["offline_duration_seconds"]["x",]
    assert summary.quantiles(0.0) == [1_500.0, 1_900.0, 1_950.0, 1_990.0, 1_999.0, 1_999.0]
    assert (summary.count, summary.sum) == (2_000, sum(range(2_000)))
