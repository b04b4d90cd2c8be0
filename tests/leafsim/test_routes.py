"""--connect-to."""

import pytest

from leafsim import LeafError, parse_connect_to
from leafsim.routes import Routes


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("gw.factory.test:8883:127.0.0.1:18883", (("gw.factory.test", 8883), ("127.0.0.1", 18883))),
        ("gw.factory.test:8883:[::1]:1", (("gw.factory.test", 8883), ("::1", 1))),
        ("[fe80::1]:8883:localhost:8883", (("fe80::1", 8883), ("localhost", 8883))),
    ],
)
def test_route_is_read_as_curl_reads_it(text, route):
    """NAME:PORT:ADDRESS:PORT, with IPv6 in brackets."""
    assert parse_connect_to(text) == route


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gw:8883",
        "gw:8883:127.0.0.1",
        "gw:x:127.0.0.1:1",
        "gw:0:h:1",
        "gw:1:h:65536",
        ":1:h:1",
        "gw:1::1",
        "a:1:b:2:c",
    ],
)
def test_route_that_is_none(text):
    """Anything else is refused with an example."""
    with pytest.raises(LeafError, match="connect-to") as caught:
        parse_connect_to(text)
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_names_match_ignoring_case_and_ports_exactly():
    """A route holds for the name in any case, and for its port only."""
    routes = Routes({("GW.Factory.test", 8883): ("127.0.0.1", 1)})
    assert routes.resolve("gw.factory.TEST", 8883) == ("127.0.0.1", 1)
    assert routes.resolve("gw.factory.test", 443) == ("gw.factory.test", 443)
