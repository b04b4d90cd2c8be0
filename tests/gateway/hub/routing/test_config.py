"""The desired properties of $edgeHub, and what a router makes of them."""

import json

import pytest

from gateway.hub.routing import Input, Upstream
from gateway.hub.routing.config import EdgeHubConfigError, default_config, read_config
from gateway.hub.routing.router import Router
from gateway.hub.routing.subject import read_json
from gateway.hub.topics import Telemetry, parse_telemetry
from gateway.store import UPSTREAM

TO_CLOUD = "FROM /messages/* INTO $upstream"
TO_FILTER = 'FROM /messages/* WHERE hot = "yes" INTO BrokeredEndpoint("/modules/filter/inputs/in")'


def test_shipped_configuration_sends_everything_upstream_and_waits_for_ever():
    """As Edge Hub without a deployment; the queue is the one that stores have from the start."""
    config = default_config()
    (target,) = Router(config).targets(Telemetry("press", None, "{}", "{}"), b"")
    assert (target.queue, target.sink, target.time_to_live, config.time_to_live) == (UPSTREAM, Upstream(), -1, -1)


def test_configuration_reads_both_kinds_of_routes():
    """A route is a text, or with schema version 1.1 an object with priority and time to live."""
    config = read_config(
        {
            "schemaVersion": "1.1",
            "routes": {
                "cloud": TO_CLOUD,
                "hot": {"route": TO_FILTER, "priority": 0, "timeToLiveSecs": 60},
                "gone": None,
            },
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
        }
    )
    assert (list(config.routes), config.time_to_live, config.schema_version) == (["cloud", "hot"], 7200, "1.1")
    assert (config.routes["hot"].priority, config.routes["hot"].time_to_live) == (0, 60)


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.1.0", "1.2", "1.3"])
def test_schema_versions_that_the_product_knows_are_taken(version):
    """1.0 to 1.3, with or without a third number."""
    assert read_config({"schemaVersion": version, "routes": {"a": TO_CLOUD}}).schema_version == version


@pytest.mark.parametrize(
    ("desired", "where", "problem"),
    [
        ({}, "schemaVersion", "None is no version"),
        ({"schemaVersion": 1.1}, "schemaVersion", "1.1 is no version"),
        ({"schemaVersion": "2.0"}, "schemaVersion", "2.0 is not supported"),
        ({"schemaVersion": "1.4"}, "schemaVersion", "1.4 is not supported"),
        ({"schemaVersion": "1.1", "routes": []}, None, None),
        ({"schemaVersion": "1.1", "routes": ["x"]}, "routes", "is no object"),
        ({"schemaVersion": "1.1", "routes": {"a": 5}}, "routes.a", "has no route"),
        ({"schemaVersion": "1.1", "routes": {"a": {"priority": 1}}}, "routes.a", "has no route"),
        ({"schemaVersion": "1.0", "routes": {"a": {"route": TO_CLOUD}}}, "routes.a", "needs schema version 1.1"),
        (
            {"schemaVersion": "1.1", "routes": {"a": {"route": TO_CLOUD, "priority": 10}}},
            "routes.a.priority",
            "10 is no",
        ),
        ({"schemaVersion": "1.1", "routes": {"a": {"route": TO_CLOUD, "priority": True}}}, "routes.a.priority", "True"),
        (
            {"schemaVersion": "1.1", "routes": {"a": {"route": TO_CLOUD, "timeToLiveSecs": -1}}},
            "routes.a.timeToLiveSecs",
            "-1 is no time",
        ),
        (
            {"schemaVersion": "1.1", "routes": {"a": "FROM /* WHERE x > INTO $upstream"}},
            "routes.a",
            "1:19: INTO does not",
        ),
        ({"schemaVersion": "1.1", "routes": {"a": " "}}, "routes.a", "there is no route"),
        (
            {"schemaVersion": "1.2", "storeAndForwardConfiguration": {"storeLimits": 5}},
            "storeAndForwardConfiguration.storeLimits",
            "is no object",
        ),
        (
            {"schemaVersion": "1.2", "storeAndForwardConfiguration": {"storeLimits": {}}},
            "storeAndForwardConfiguration.storeLimits.maxSizeBytes",
            "None is no size",
        ),
        (
            {"schemaVersion": "1.2", "storeAndForwardConfiguration": {"storeLimits": {"maxSizeBytes": 0}}},
            "storeAndForwardConfiguration.storeLimits.maxSizeBytes",
            "0 is no size",
        ),
        ({"schemaVersion": "1.1", "storeAndForwardConfiguration": 5}, "storeAndForwardConfiguration", "is no object"),
        (
            {"schemaVersion": "1.1", "storeAndForwardConfiguration": {"timeToLiveSecs": "2h"}},
            "storeAndForwardConfiguration.timeToLiveSecs",
            "'2h' is no time",
        ),
    ],
)
def test_configuration_that_cannot_be_used_says_where(desired, where, problem):
    """The path of what is wrong, and for a route its line and column."""
    if where is None:
        assert read_config(desired).routes == {}
        return
    with pytest.raises(EdgeHubConfigError) as refused:
        read_config(desired)
    assert refused.value.where == where
    assert problem in refused.value.message


def test_configuration_may_limit_the_store_in_memory():
    """storeLimits.maxSizeBytes; without, there is no limit. A route may have the lowest priority by its number."""
    section = {"timeToLiveSecs": 60, "storeLimits": {"maxSizeBytes": 52_428_800}}
    lowest = {"route": TO_CLOUD, "priority": 2_000_000_000}
    limited = read_config({"schemaVersion": "1.2", "routes": {"a": lowest}, "storeAndForwardConfiguration": section})
    assert (limited.max_size, limited.time_to_live, limited.routes["a"].priority) == (52_428_800, 60, 2_000_000_000)
    assert read_config({"schemaVersion": "1.2", "routes": {}}).max_size is None


def test_blank_route_of_the_first_schema_is_passed_over():
    """As EdgeHubConfigParser.cs does for 1.0; later versions refuse it."""
    assert list(read_config({"schemaVersion": "1.0", "routes": {"a": " ", "b": TO_CLOUD}}).routes) == ["b"]


def router(**routes):
    """A router with these routes."""
    return Router(read_config({"schemaVersion": "1.1", "routes": routes}))


def test_message_goes_to_each_endpoint_once_by_its_most_urgent_route():
    """Two routes to one endpoint make one copy; each endpoint has its own."""
    targets = router(
        slow=TO_CLOUD,
        fast={"route": "FROM /* INTO $upstream", "priority": 3, "timeToLiveSecs": 9},
        hot=TO_FILTER,
    ).targets(parse_telemetry("devices/press/messages/events/hot=yes"), b"")
    assert [(one.queue, one.time_to_live) for one in targets] == [("3 $upstream", 9), ("2000000000 filter/in", -1)]
    assert targets[1].sink == Input("filter", "in")
    config = {"schemaVersion": "1.1", "routes": {"a": TO_CLOUD}, "storeAndForwardConfiguration": {"timeToLiveSecs": 60}}
    (target,) = Router(read_config(config)).targets(parse_telemetry("devices/press/messages/events/"), b"")
    assert target.time_to_live == 60


def test_message_that_no_route_takes_goes_nowhere():
    """No routes at all, or none that fits."""
    telemetry = parse_telemetry("devices/press/messages/events/hot=no")
    assert router().targets(telemetry, b"") == ()
    assert router(hot=TO_FILTER).targets(telemetry, b"") == ()


def test_modules_output_is_a_source_of_its_own():
    """`$.on` in the property bag names the output; a leaf's telemetry is not among the modules'."""
    modules = router(one="FROM /messages/modules/filter/outputs/hot INTO $upstream")
    output = parse_telemetry("devices/edge/modules/filter/messages/events/%24.on=hot")
    other = parse_telemetry("devices/edge/modules/filter/messages/events/%24.on=cold")
    leaf = parse_telemetry("devices/press/messages/events/")
    assert [len(modules.targets(one, b"")) for one in (output, other, leaf)] == [1, 0, 0]


def test_routes_see_system_properties_and_the_body():
    """Content type and encoding come with the message, and so does who sent it."""
    leaves = router(
        one="FROM /messages/* WHERE NOT IS_DEFINED($connectionModuleId) AND $contentType = 'x' INTO $upstream"
    )
    assert leaves.targets(parse_telemetry("devices/press/messages/events/%24.ct=x"), b"")
    assert not leaves.targets(parse_telemetry("devices/press/modules/m/messages/events/%24.ct=x"), b"")
    warm = router(one="FROM /messages/* WHERE $body.t > 30 INTO $upstream")
    telemetry = parse_telemetry("devices/press/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8")
    assert [len(warm.targets(telemetry, json.dumps({"t": one}).encode())) for one in (31, 30, 32)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("condition", "bag", "met"),
    [
        ("$messageId = 'm1'", "%24.mid=m1", True),
        ("$cid = 'c1'", "%24.cid=c1", True),
        ("$correlationId = 'c1'", "%24.cid=c1", False),
        ("$userId = 'u'", "%24.uid=u", True),
        ("$to = 't'", "%24.to=t", True),
        ("$contentType = 'x'", "%24.ct=x", True),
        ("$contentEncoding = 'y'", "%24.ce=y", True),
        ("$messageSchema = 's'", "%24.schema=s", True),
        ("$creationTime = '2024'", "%24.ctime=2024", True),
        ("$iothub-interface-id = 'i'", "%24.ifid=i", True),
        ("$absolute-expiry-time = 'e'", "%24.exp=e", True),
        ("$ack = 'full'", "ack=full", True),
        ("$operation = 'o'", "iothub-operation=o", True),
        ("$connectionDeviceId = 'press'", "", True),
        ("$edgeHubOriginInterface = 'downstream'", "", True),
        ("IS_DEFINED($messageType)", "%24.schema=twinChangeNotification", False),
    ],
)
def test_system_properties_have_the_products_names(condition, bag, met):
    """SystemProperties.cs: what conditions call what travels in the property bag."""
    one = router(one=f"FROM /messages/* WHERE {condition} INTO $upstream")
    assert bool(one.targets(parse_telemetry(f"devices/press/messages/events/{bag}"), b"")) is met


def test_own_modules_come_from_inside():
    """$edgeHubOriginInterface is internal for modules of the gateway's own device."""
    routes = {"one": "FROM /messages/* WHERE $edgeHubOriginInterface = 'internal' INTO $upstream"}
    inside = Router(read_config({"schemaVersion": "1.1", "routes": routes}), "edge")
    assert inside.targets(parse_telemetry("devices/edge/modules/m/messages/events/"), b"")
    assert not inside.targets(parse_telemetry("devices/press/messages/events/"), b"")


def test_bodies_are_read_only_when_a_route_can_have_them(monkeypatch):
    """A condition about the body costs nothing for messages that do not say they are JSON, or from elsewhere."""
    some = router(
        warm="FROM /messages/* WHERE $body.t > 30 INTO $upstream",
        filter="FROM /messages/modules/* WHERE $body.t > 90 INTO BrokeredEndpoint('/modules/filter/inputs/in')",
        marked="FROM /messages/* WHERE marked = 'yes' INTO BrokeredEndpoint('/modules/log/inputs/in')",
    )
    json_bag = "%24.ct=application%2Fjson&%24.ce=utf-8"
    calls = []

    def read(body, encoding):
        calls.append(body)
        return read_json(body, encoding)

    monkeypatch.setattr("gateway.hub.routing.subject.read_json", read)

    def sinks(topic, body=b'{"t":99}'):
        return [str(one.sink) for one in some.targets(parse_telemetry(topic), body)]

    assert sinks("devices/press/messages/events/marked=yes") == ["log/in"]
    assert calls == []
    assert sinks(f"devices/press/messages/events/{json_bag}&marked=yes") == ["$upstream", "log/in"]
    assert sinks(f"devices/press/messages/events/{json_bag}&marked=yes", b'{"t":1}') == ["log/in"]
    assert sinks(f"devices/press/modules/m/messages/events/{json_bag}") == ["$upstream", "filter/in"]
    assert len(calls) == 3


def test_decisions_are_remembered_within_bounds():
    """A flood of topics does not make the memory grow without end."""
    plain = router(one=TO_CLOUD)
    for number in range(5_000):
        assert plain.targets(Telemetry(f"press-{number}", None, "{}", "{}"), b"")
    assert len(plain._known) <= 4_096
