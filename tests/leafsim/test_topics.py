"""Topics, letter by letter as the device SDKs put them on the wire."""

from leafsim import topics


def test_telemetry_as_the_python_sdk_sends_it():
    """System properties come first, in the SDK's order, and everything is percent-encoded."""
    assert topics.telemetry(
        "dev1",
        message_id="a71fac2c-7339-4ede-9072-8a43c5029aa1",
        content_type="application/json",
        content_encoding="utf-8",
        properties={"source": "accept python"},
    ) == (
        "devices/dev1/messages/events/%24.mid=a71fac2c-7339-4ede-9072-8a43c5029aa1"
        "&%24.ct=application%2Fjson&%24.ce=utf-8&source=accept%20python"
    )


def test_telemetry_without_properties_keeps_the_slash():
    """An empty property bag leaves the slash before it."""
    assert topics.telemetry("dev1") == "devices/dev1/messages/events/"


def test_telemetry_of_a_module():
    """A module's topic names device and module."""
    assert topics.telemetry("d", "m", properties={"k": "v"}) == "devices/d/modules/m/messages/events/k=v"


def test_properties_are_sorted_and_encoded_to_the_last_letter():
    """Custom properties are sorted; /, &, =, + and letters beyond ASCII are encoded; a name alone stays alone."""
    found = topics.telemetry("d", properties={"b": "x/y&z=1+1 é", "a b": "", "c": None})
    assert found == "devices/d/messages/events/a%20b=&b=x%2Fy%26z%3D1%2B1%20%C3%A9&c"


def test_device_id_is_not_encoded():
    """Ids travel as they are: the SDKs do not encode them in topics."""
    assert topics.telemetry("a=b@c") == "devices/a=b@c/messages/events/"


def test_subscriptions_of_a_device():
    """A device hears cloud-to-device messages, desired properties and methods."""
    assert topics.everything("dev1") == (
        "devices/dev1/messages/devicebound/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "$iothub/methods/POST/#",
    )


def test_subscriptions_of_a_module():
    """A module has inputs instead of cloud-to-device messages."""
    assert topics.everything("d", "m")[0] == "devices/d/modules/m/inputs/#"
