"""The form of log lines."""

import io
import json
import logging
import re

import pytest

from gateway import Gateway
from gateway.events import ConnectionRefused
from gateway.logs import EdgeHubFormatter, JsonFormatter, log_to
from tests.gateway import packets as p

LINE = re.compile(
    r"<[03467]> \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \+00:00 \[(FTL|ERR|WRN|INF|DBG)\] (\[[\w.]+\] )?- .+"
)


def record(level, text, *args, created=1_700_000_000.0625):
    """A log record of a known moment."""
    made = logging.LogRecord("leafgate.gateway", level, __file__, 1, text, args, None)
    made.created = created
    return made


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.CRITICAL, "<0> 2023-11-14 22:13:20.062 +00:00 [FTL] - said 7"),
        (logging.ERROR, "<3> 2023-11-14 22:13:20.062 +00:00 [ERR] - said 7"),
        (logging.WARNING, "<4> 2023-11-14 22:13:20.062 +00:00 [WRN] - said 7"),
        (logging.INFO, "<6> 2023-11-14 22:13:20.062 +00:00 [INF] - said 7"),
        (logging.DEBUG, "<7> 2023-11-14 22:13:20.062 +00:00 [DBG] [leafgate.gateway] - said 7"),
    ],
)
def test_line_has_the_products_form(level, line):
    """Severity, UTC time with milliseconds, level, and at debug the source."""
    assert EdgeHubFormatter().format(record(level, "said %d", 7)) == line


def test_json_line_has_the_same_facts():
    """One object per line: time, level, source, message."""
    assert json.loads(JsonFormatter().format(record(logging.WARNING, "said %s", '"ü"\n'))) == {
        "time": "2023-11-14T22:13:20.062Z",
        "level": "WRN",
        "source": "leafgate.gateway",
        "message": 'said "ü"\\n',
    }


@pytest.mark.parametrize("formatter", [EdgeHubFormatter(), JsonFormatter()])
@pytest.mark.parametrize(
    "bad", ["\n", "\r", "\r\n", "\x1b[2J", "\0", "\x0b", "\x0c", "\x85", "\x9b31m", "\u2028", "\u2029"]
)
def test_control_characters_cannot_forge_a_line_or_move_a_cursor(formatter, bad):
    """Whatever a client puts into its names stays on one line and does nothing to a terminal."""
    line = formatter.format(record(logging.INFO, "name %s end", f"a{bad}<6> 2023-01-01 [INF] - forged"))
    assert len(line.splitlines()) == 1
    assert bad not in line
    assert line.isprintable()
    assert "forged end" in line


def test_log_goes_where_it_is_sent_until_it_is_taken_away():
    """log_to() shows every gateway's lines; level and form are the caller's choice."""
    logger = logging.getLogger("leafgate")
    before, stream = logger.level, io.StringIO()
    handler = log_to(stream, as_json=True, level=logging.WARNING)
    try:
        logger.info("quiet")
        logger.warning("loud")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]


async def test_every_line_of_a_gateway_has_the_form(hub):
    """Start, connections good and bad, forged names, dropped messages: line by line."""
    client = await hub.join()
    client.send(p.publish("not\nmine"), p.subscribe(("a\nb", 0)), p.DISCONNECT)
    await client.rest()
    for packet in (p.connect("a\n<3> forged"), p.connect(username="x\ny/z\r/?api-version=1"), b"\0\0"):
        client = await hub.dial()
        client.send(packet)
        await client.rest()
    await hub.event(ConnectionRefused, client_id="a\n<3> forged")
    lines = hub.log.getvalue().splitlines()
    assert len(lines) > 12
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    start = "\n".join(lines[:10])
    for fragment in (
        "Loaded server certificate with expiration date of ",
        "Enabling SSL protocols: Tls12, Tls13",
        "Created device scope identities cache",
        "Starting refresh of device scope identities cache",
        "Done refreshing device scope identities cache. Waiting for 60 minutes.",
        "Starting timer to authenticate connections with a period of 300 seconds",
        f"Initializing TLS endpoint on port {hub.gateway.mqtt_port} for MQTT head.",
    ):
        assert fragment in start


async def test_gateways_log_apart_and_one_can_be_silenced(chain):
    """Each gateway has its own logger unless one is given; the logging module keeps none of them."""
    known, said = set(logging.Logger.manager.loggerDict), io.StringIO()
    own = logging.Logger("mine", logging.INFO)
    own.addHandler(logging.StreamHandler(said))
    async with Gateway(chain=chain, log=own), Gateway(chain=chain) as other:
        assert other.log is not own
        assert "Initializing TLS endpoint" in said.getvalue()
        assert said.getvalue().count("Initializing") == 1
    assert {name for name in set(logging.Logger.manager.loggerDict) - known if "leafgate" in name} == set()
