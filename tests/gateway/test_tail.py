"""One line per message, and nothing that a terminal would obey."""

import base64

import pytest

from gateway.tail import body, line, safe


def event(data=b"{}", **changed):
    """An event of the feed."""
    return {
        "deviceId": "press",
        "moduleId": None,
        "source": "Telemetry",
        "enqueuedTime": "2026-01-02T03:04:05.678Z",
        "sequence": 7,
        "systemProperties": {},
        "properties": {},
        "body": base64.b64encode(data).decode(),
    } | changed


def test_line_says_when_who_what_and_the_properties():
    """In this order; a property without a value is its name."""
    assert line(event(b'{"t": 1}', properties={"line": "4", "alert": None})) == (
        '03:04:05.678  press         {"t": 1}  line=4 alert'
    )
    assert line(event(moduleId="filter")).split()[1] == "press/filter"


def test_line_of_iot_hubs_own_message_names_source_and_operation():
    """In place of its properties, which repeat what the line says."""
    told = event(b'{"version":2}', source="twinChangeEvents", properties={"opType": "updateTwin", "hubName": "hub"})
    assert line(told) == '03:04:05.678  press         twinChangeEvents updateTwin  {"version":2}'


def test_line_is_styled_part_by_part():
    """What a style adds is around the text, never in it."""
    assert line(event(), lambda text, style: f"<{style}>{text}</>") == (
        "<dim>03:04:05.678</>  <bold>press       </>  {}"
    )


@pytest.mark.parametrize(
    ("data", "system", "shown"),
    [
        ("grün".encode(), {}, "grün"),
        ("grün".encode("utf-16"), {"content-encoding": "UTF-16"}, "grün"),
        (b"two\nlines\ttab", {}, r"two\nlines\ttab"),
        (b"\x1b[31mred\x07\x9b", {}, "1b 5b 33 31 6d 72 65 64 07 9b (10 bytes)"),
        (b"\x1b]0;title\x07", {}, r"\x1b]0;title\x07"),
        ("\u202egnp.exe".encode(), {}, r"\u202egnp.exe"),
        ("\x9b31m".encode(), {}, r"\x9b31m"),
        (bytes(range(128, 200)), {}, f"{bytes(range(128, 192)).hex(' ')}... (72 bytes)"),
        (b"x" * 3_000, {}, "x" * 2_000 + "... (3000 bytes)"),
        (b"text", {"content-encoding": "rot13"}, "text"),
        (b"", {}, ""),
    ],
)
def test_body_is_shown_safely(data, system, shown):
    """Text as text, the rest as hexadecimal digits; control characters are written out."""
    assert body(event(data, systemProperties=system)) == shown


def test_names_of_devices_and_properties_are_shown_safely_too():
    """A device id cannot move the cursor either."""
    shown = line(event(deviceId="a\x1b[2J", properties={"k\r": "v\x00"}))
    assert shown.isprintable()
    assert safe("\x1b") == r"\x1b"
