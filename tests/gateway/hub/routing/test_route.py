"""Sources, sinks and errors of routes."""

import pytest

from gateway.hub.routing import Input, RouteError, Subject, Upstream, telemetry_source
from gateway.hub.routing.lexer import tokens
from gateway.hub.routing.parser import compile_route

ANY = Subject({}, {}, b"")
SOURCES = {
    "leaf": telemetry_source(None, None),
    "output": telemetry_source("Filter", "Out"),
    "other output": telemetry_source("Filter", "Other"),
    "other module": telemetry_source("Filter2", "Out"),
    "twin": "/twinchangenotifications/",
}


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("/*", {"leaf", "output", "other output", "other module", "twin"}),
        ("/messages/*", {"leaf", "output", "other output", "other module"}),
        ("/messages", {"leaf", "output", "other output", "other module"}),
        ("/messages/modules/*", {"output", "other output", "other module"}),
        ("/MESSAGES/modules/filter/*", {"output", "other output"}),
        ("/messages/modules/Filter/outputs/*", {"output", "other output"}),
        ("/messages/modules/filter/outputs/out", {"output"}),
        ("/twinChangeNotifications", {"twin"}),
        ("/deviceLifecycleEvents", set()),
    ],
)
def test_source_takes_what_begins_with_it(source, taken):
    """A source is a prefix, whatever the case of its letters; leaf telemetry comes from /messages."""
    route = compile_route(f"FROM {source} INTO $upstream")
    assert {name for name, path in SOURCES.items() if route.takes(path, ANY)} == taken


@pytest.mark.parametrize(
    ("text", "sink"),
    [
        ("FROM /* INTO $upstream", Upstream()),
        ("select * from /* into $UPSTREAM", Upstream()),
        ('FROM /* INTO BrokeredEndpoint("/modules/Filter/inputs/in1")', Input("Filter", "in1")),
        ("FROM /* INTO brokeredEndpoint('modules/Filter/inputs/in1/')", Input("Filter", "in1")),
        ("FROM /messages/*\n  WHERE true\n  INTO $upstream", Upstream()),
        ("FROM /* INTO $upstream and what nobody reads", Upstream()),
    ],
)
def test_sink_is_the_cloud_or_a_modules_input(text, sink):
    """$upstream and BrokeredEndpoint are the two endpoints; what follows is not read, as in the product."""
    assert compile_route(text).sink == sink


@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "hint"),
    [
        ("", 1, 1, "there is no route", "FROM"),
        ("messages INTO $upstream", 1, 1, "messages does not belong here", "expected FROM or SELECT"),
        ("FROM messages INTO $upstream", 1, 6, "messages does not belong here", "expected /"),
        ("FROM /messages\nWHERE a INTO\n$cloud", 3, 1, "there is no endpoint $cloud", "$upstream"),
        ("FROM /* INTO Endpoint('/modules/a/inputs/b')", 1, 14, "there is no endpoint Endpoint", "BrokeredEndpoint"),
        ("FROM /* INTO BrokeredEndpoint('/modules/a')", 1, 14, "'modules/a' is no input of a module", "/inputs/"),
        ("FROM /* INTO BrokeredEndpoint(/modules/a/inputs/b)", 1, 31, "/ does not belong here", "a quoted text"),
        ("FROM /* WHERE a INTO", 1, 21, "the route ends too early", "$upstream"),
        ("FROM /* WHERE temp > 30 INTO $upstream", 1, 20, "> wants operands of one kind", "as_number(name)"),
        ("FROM /* WHERE true and $body.on INTO $upstream", 1, 20, "and wants bools", "body first"),
        ("FROM /* WHERE nope(1) INTO $upstream", 1, 15, "there is no function nope", "as_number"),
        ("FROM /* WHERE length(1) = 1 INTO $upstream", 1, 15, "length does not take number", "(string)"),
        ("FROM /* WHERE 'open INTO $upstream", 1, 15, "the text is not closed", "quote"),
        ("FROM /* WHERE (3 = 3 INTO $upstream", 1, 22, "INTO does not belong here", ")"),
        ("FROM /* WHERE ; INTO $upstream", 1, 15, "; does not belong here", ""),
    ],
)
def test_route_that_cannot_be_read_says_where_and_what_was_expected(text, line, column, problem, hint):
    """Line and column count from 1 and point at the word that does not fit."""
    with pytest.raises(RouteError) as refused:
        compile_route(text)
    error = refused.value
    assert (error.line, error.column) == (line, column)
    assert error.problem.startswith(problem)
    assert hint in (error.hint or "")


def test_route_keeps_priority_and_time_to_live():
    """Both come with an object route; a plain route has the lowest priority and the hub's own time to live."""
    plain, urgent = (
        compile_route("FROM /* INTO $upstream"),
        compile_route("FROM /* INTO $upstream", priority=0, time_to_live=60),
    )
    assert (plain.priority, plain.time_to_live) == (2_000_000_000, 0)
    assert (urgent.priority, urgent.time_to_live) == (0, 60)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("3-4", ["NAME"]),
        ("3 - 4", ["INTEGER", "MINUS", "INTEGER"]),
        ("'a'||'b'", ["NAME"]),
        ("key!='x'", ["NAME", "EQ", "STRING"]),
        ("a /* comment */ b", ["NAME", "NAME"]),
        ("a[0]", ["PATH"]),
        ("1e5 .5 -2 0x1f truest True", ["REAL", "REAL", "INTEGER", "HEX", "NAME", "NAME"]),
    ],
)
def test_longest_token_wins(text, kinds):
    """Names may contain nearly anything, so blanks decide what a text means."""
    assert [token.type for token in tokens(text)] == kinds
