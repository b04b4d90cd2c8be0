"""Sources, sinks and errors of routes."""

from dataclasses import replace

import pytest

from gateway.hub.routing import Input, RouteError, Subject, Upstream, telemetry_source
from gateway.hub.routing.lexer import tokens
from gateway.hub.routing.parser import compile_route

FIRST = "FROM /* INTO $upstream"
ANY = Subject({}, {}, b"")
SOURCES = {
    "leaf": telemetry_source(None, None),
    "output": telemetry_source("Filter", "Out"),
    "other output": telemetry_source("Filter", "Other"),
    "other module": telemetry_source("Filter2", "Out"),
    "twin": "/twinchangenotifications/",
    "no output": telemetry_source("Filter", None),
}


LEAF, TWIN = {"leaf"}, {"twin"}
FILTER = {"output", "other output", "no output"}
MODULES = FILTER | {"other module"}


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("/", LEAF | MODULES | TWIN),
        ("/*", LEAF | MODULES | TWIN),
        ("/messages", LEAF | MODULES),
        ("/messages/*", LEAF | MODULES),
        ("/messages/events", LEAF),
        ("/messages/events/*", LEAF),
        ("/messages/modules", MODULES),
        ("/messages/modules/*", MODULES),
        ("/MESSAGES/modules/filter/*", FILTER),
        ("/messages/modules/Filter", FILTER),
        ("/messages/modules/Filter/outputs", {"output", "other output"}),
        ("/messages/modules/Filter/outputs/*", {"output", "other output"}),
        ("/messages/modules/filter/outputs/out", {"output"}),
        ("/messages/modules/Filter2", {"other module"}),
        ("/twinChangeNotifications", TWIN),
        ("/twinChangeNotifications/*", TWIN),
        ("/message", set()),
        ("/messages/event", set()),
        ("/messages/modules/events", set()),
        ("/messages/modules/filte", set()),
        ("/messages/modules/filter/outputs/o", set()),
        ("/messages/modules/filter/outputs/other2", set()),
        ("/*/messages/*", set()),
        ("/foo/*", set()),
        ("/deviceLifecycleEvents", set()),
    ],
)
def test_source_takes_what_begins_with_it(source, taken):
    """Whole parts of a path, whatever the case; leaf telemetry comes from /messages/events (MessageSourceTest.cs)."""
    route = (
        compile_route(f"FROM {source} INTO $upstream") if source != "/" else replace(compile_route(FIRST), source="/")
    )
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
        ("   FROM /messages/* INTO BrokeredEndpoint(' /modules/Filter/inputs/in1 ')   ", Input("Filter", "in1")),
        ("FROM /* INTO brokeredEndpoint('/modules/alert\"Logic/inputs/in')", Input('alert"Logic', "in")),
        ('FROM /* INTO brokeredEndpoint("/modules/alert\'Logic/inputs/in")', Input("alert'Logic", "in")),
        ("FROM /* INTO brokeredEndpoint('/a/b/c/d')", Input("b", "d")),
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


@pytest.mark.parametrize(
    "text",
    [
        'FORM /messages/modules/adapter INTO brokeredEndpoint("/modules/alertLogic/inputs/in")',
        'SELECT FROM /messages/modules/adapter INTO brokeredEndpoint("/modules/alertLogic/inputs/in")',
        'FROM INTO brokeredEndpoint("/modules/alertLogic/inputs/in")',
        "FROM /* INTO brokeredEndpoint(\"/modules/alertLogic/inputs/in')",
        "FROM /* INTO brokeredEndpoint('/modules/alertLogic/inputs/in\")",
        'FROM /* INTO brokeredEndpoint(""/modules/alertLogic/inputs/in"")',
        "FROM /* INTO brokeredEndpoint(''/modules/alertLogic/inputs/in'')",
        "FROM /* INTO brokeredEndpoint('\"/modules/alertLogic/inputs/in'\")",
        "FROM /* INTO brokeredEndpoint(\"'/modules/alertLogic/inputs/in\"')",
        'FROM /messages WHERE temp == 100 INTO brokeredEndpoint("/modules/alertLogic/inputs/in")',
        'FROM /messages WHERE INTO brokeredEndpoint("/modules/alertLogic/inputs/in")',
        "FROM /messages WHERE temp = 'high' INTO",
        'FROM /messages INTO brokeredEndpoint("/modules/alertLogic/inputs/in"',
        'FROM /messages INTO brokeredEndpoint("/modules/alertLogic/inputs/in)',
        'FROM /messages INTO brokeredEndpoint "/modules/alertLogic/inputs/in")',
        'FROM /messages INTO brokeredEndpoint(/modules/alertLogic/inputs/in")',
        'FROM /messages INTO "/modules/alertLogic/inputs/in"',
        "FROM /messages INTO /modules/alertLogic/inputs/in",
        "FROM /messages INTO upstream",
        "FROM /messages INTO BrokeredEndpoint(' ')",
        "FROM /messages INTO BrokeredEndpoint('/modules/a/inputs/ ')",
    ],
)
def test_route_that_the_product_refuses_is_refused(text):
    """The table of RouteFactoryTest.cs, and blank parts of an address."""
    with pytest.raises(RouteError):
        compile_route(text)


@pytest.mark.parametrize(
    ("text", "source", "sink"),
    [
        ("FROM /messages/* INTO $upstream", "/messages/", Upstream()),
        ("FROM /* WHERE NOT IS_DEFINED($connectionModuleId) INTO $upstream", "/", Upstream()),
        (
            "FROM /messages/modules/TempFilterModule/outputs/* WHERE IS_DEFINED(x) "
            'INTO BrokeredEndpoint("/modules/a/inputs/b")',
            "/messages/modules/tempfiltermodule/outputs/",
            Input("a", "b"),
        ),
        (
            'FROM /messages/modules/alertLogic/outputs/commands WHERE messageType = "alert" AND '
            "( as_number(temp) > 100 OR humidity = '50' OR place = \"basement\") INTO $upstream",
            "/messages/modules/alertlogic/outputs/commands/",
            Upstream(),
        ),
        (
            "FROM /messages/* WHERE $connectionDeviceId = 'd' AND processingPath = 'hot' INTO $upstream",
            "/messages/",
            Upstream(),
        ),
    ],
)
def test_route_of_the_documentation_is_read(text, source, sink):
    """Examples of "Learn how to deploy modules and establish routes in IoT Edge" and of RouteFactoryTest.cs."""
    route = compile_route(text)
    assert (route.source, route.sink) == (source, sink)


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
