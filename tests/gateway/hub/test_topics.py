"""What topics mean."""

import json

import pytest

from gateway.hub.topics import (
    MethodResponse,
    ReportedPatch,
    TopicError,
    TwinGet,
    TwinTopicError,
    parse_property_bag,
    parse_request,
    parse_telemetry,
)


@pytest.mark.parametrize(
    ("topic", "device", "module"),
    [
        ("devices/press/messages/events/", "press", None),
        ("devices/press/messages/events", "press", None),
        ("devices/press/messages/events/a=b", "press", None),
        ("devices/press/messages/events/a=b/", "press", None),
        ("devices/press/modules/filter/messages/events/", "press", "filter"),
        ("devices/press/modules/filter/messages/events/a=b", "press", "filter"),
        ("anything/before/devices/press/messages/events/", "press", None),
        ("devices/press/messages/events//", "press", None),
        ("devices//messages/events/", "", None),
        ("devices/pr%20ss/messages/events/", "pr%20ss", None),
    ],
)
def test_telemetry_topic_names_its_source(topic, device, module):
    """Variables match one segment, templates are anchored at their end, a trailing slash is optional."""
    assert parse_telemetry(topic)[:2] == (device, module)


@pytest.mark.parametrize(
    "topic",
    [
        "a",
        "/",
        "Devices/press/messages/events/",
        "devices/press/messages/event/",
        "devices/press/messages/events/a/b",
        "devices/press/messages/events/$.ct=application/json",
        "devices/a/b/messages/events/",
        "devices/press/messages/eventsX",
        "$iothub/methods/res/200/?$rid=1",
        "$iothub/twin/GET/?$rid=1",
        "$iothub/twin/PATCH/properties/reported/?a=b&$rid=1",
        "$IOTHUB/twin/GET/",
    ],
)
def test_topic_that_means_nothing_is_an_error(topic):
    """Such a message goes nowhere; the topic is named."""
    with pytest.raises(TopicError, match="does not match any topic"):
        parse_telemetry(topic)


@pytest.mark.parametrize(
    ("topic", "request_"),
    [
        ("$iothub/twin/GET/?$rid=1", TwinGet("1")),
        ("$iothub/twin/GET/?$rid=1&$version=2", TwinGet("1")),
        ("$iothub/twin/GET/?a&$rid=1", TwinGet("1")),
        ("$iothub/twin/PATCH/properties/reported/?$rid=1", ReportedPatch("1")),
        ("$iothub/twin/PATCH/properties/reported/?$rid=1&$version=2", ReportedPatch("1")),
        ("$iothub/twin/PATCH/properties/reported/?$rid=", ReportedPatch("")),
        ("$iothub/twin/PATCH/properties/reported/", ReportedPatch("")),
        ("$iothub/methods/res/200/?$rid=ab-1", MethodResponse("ab-1", "200")),
        ("$iothub/methods/res/200/?$rid=ab-1/", MethodResponse("ab-1", "200")),
        ("$iothub/methods/res//?$rid=1", MethodResponse("1", "")),
        ("$iothub/methods/res/many/?$rid=1", MethodResponse("1", "many")),
    ],
)
def test_request_is_read(topic, request_):
    """Twin requests and method answers; a change of reported properties needs no request id."""
    assert parse_request(topic) == request_


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("$iothub/twin/GET/", "Correlation id is missing"),
        ("$iothub/twin/GET/?$rid=", "Correlation id is missing"),
        ("$iothub/twin/GET/?", "Correlation id is missing"),
        ("$iothub/twin/GET/?$RID=1", "Correlation id is missing"),
        ("$iothub/twin/GET/more/?$rid=1", "not supported: `more/"),
        ("$iothub/twin/PATCH/properties/reported/more", "not supported: `more`"),
        ("$iothub/twin/GET/?$rid=1&$rid=2", "twice"),
        ("$iothub/twin/GET", "Failed to parse"),
        ("$iothub/twin/PATCH/properties/desired/?$rid=1", "Failed to parse"),
        ("$iothub/twin/", "Failed to parse"),
        ("$iothub/twin/POST/?$rid=1", "Failed to parse"),
    ],
)
def test_malformed_twin_topic_is_told_apart(topic, why):
    """Below $iothub/twin/ a malformed request ends the connection, so it is another error."""
    with pytest.raises(TwinTopicError, match=why):
        parse_request(topic)


@pytest.mark.parametrize(
    "topic", ["$iothub/", "$iothub/twin", "$iothub/methods/res/200/", "$iothub/methods/POST/x/?$rid=1", "$iothub/x"]
)
def test_other_topic_of_the_service_means_nothing(topic):
    """It is acknowledged and dropped like any other."""
    with pytest.raises(TopicError, match="does not match any topic"):
        parse_request(topic)


@pytest.mark.parametrize(
    ("bag", "properties", "system"),
    [
        ("", {}, {}),
        ("?", {}, {}),
        ("a=b", {"a": "b"}, {}),
        ("?a=b&c=d", {"a": "b", "c": "d"}, {}),
        ("a=", {"a": ""}, {}),
        ("a", {"a": None}, {}),
        ("a=1&a=2", {"a": "2"}, {}),
        ("a%20b=c%26d%3De", {"a b": "c&d=e"}, {}),
        ("a=1+1", {"a": "1+1"}, {}),
        ("a=%2B%e2%82%ac", {"a": "+€"}, {}),
        ("ö=ü", {"ö": "ü"}, {}),
        ("%24.mid=7&$.ct=text%2Fplain&$.ce=utf-8", {}, {"message-id": "7", "content-type": "text/plain",
                                                        "content-encoding": "utf-8"}),
        ("$.exp=1&$.cid=2&$.to=3&$.uid=4&$.on=5&$.ctime=6&$.sub=7", {}, {
            "absolute-expiry-time": "1", "correlation-id": "2", "to": "3", "user-id": "4", "output-name": "5",
            "iothub-creation-time-utc": "6", "dt-subject": "7"}),
        ("iothub-ack=full", {}, {"iothub-ack": "full"}),
        ("$.mid", {}, {"message-id": ""}),
        ("$.unknown=1", {"$.unknown": "1"}, {}),
        ("$.MID=1", {"$.MID": "1"}, {}),
    ],
)  # fmt: skip
def test_property_bag_is_read(bag, properties, system):
    """Escapes are decoded, `+` is not, the last duplicate wins, system properties get their service names."""
    assert parse_property_bag(bag) == (properties, system)


@pytest.mark.parametrize(
    "bag", ["&", "a=b&", "&a=b", "a=b&&c=d", "=", "=b", "a=b=c", "a==", "a=%", "a=%2", "a=%zz", "%zz=a", "a=%ff", "?=?"]
)
def test_property_bag_with_one_mistake_is_spoiled(bag):
    """A stray `=` or `&`, a broken escape or one that is no UTF-8 spoils the whole bag."""
    with pytest.raises(TopicError, match="the property bag"):
        parse_property_bag(bag)


def test_properties_are_stored_as_compact_json():
    """Nothing is lost on the way to the store."""
    telemetry = parse_telemetry('devices/d/messages/events/a%22=%0A€&n&$.mid="')
    assert json.loads(telemetry.properties) == {'a"': "\n€", "n": None}
    assert telemetry.system_properties == '{"message-id":"\\""}'
