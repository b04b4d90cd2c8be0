"""What conditions come to, by the public grammar, the product's own tables and its documentation's examples.

True, False and None (undefined) are told apart by asking for the condition, for its negation, and for neither.
"""

import json

import pytest

from gateway.hub.routing import RouteError, Subject
from gateway.hub.routing.parser import compile_route
from gateway.hub.routing.subject import read_json

PROPERTIES = {"key1": "value1", "key2": "3", "key3": "VALUE3", "empty": None, "$sys4": "own4", "3-4": "dashed"}
SYSTEM = {"sys1": "sysvalue1", "sys2": "4", "sys4": "sysvalue4", "connectionDeviceId": "press-7"}
BODY = {
    "weather": {
        "temperature": 50,
        "freezing": -50.4,
        "nothing": None,
        "time": "2017-03-09T00:00:00.000Z",
        "earlier": [20, 30, 40],
        "on": True,
        "off": False,
        "place": {"city": "Redmond", "state": "WA"},
        "months": [{"name": "Feb", "temperature": 40}, {"name": "Jan", "temperature": 30}],
        "conflict": 50,
    }
}


def subject(body=BODY, content_type="application/json", encoding="utf-8"):
    """A message with those properties and this body."""
    system = SYSTEM | {"contentType": content_type, "contentEncoding": encoding}
    own = PROPERTIES | {"$body.weather.conflict": "100"}
    return Subject(own, system, body if isinstance(body, bytes) else json.dumps(body).encode(encoding))


def met(condition, message=None):
    """Whether a message meets a condition."""
    return compile_route(f"FROM /* WHERE {condition} INTO $upstream").meets(message or subject())


def outcome(condition):
    """True, False, or None for undefined."""
    if met(condition):
        return True
    try:
        return False if met(f"not ({condition})") else None
    except RouteError:  # a number, a text: neither true nor false
        return None


TRUE = """
3 = 3 | '3' = '3' | "3" = "3" | true = true | key2 = '3' | KEY1 = "value1" | as_number(key2) = 3 | 3 != 4 | 3 <> 4
$sys2 = '4' | as_number($sys2) = 4 | $sys4 = "own4" | {$sys4} = "sysvalue4" | { $sys1 } = 'sysvalue1'
$connectionDeviceId = 'press-7' | $CONNECTIONDEVICEID = 'press-7' | NOT IS_DEFINED($connectionModuleId) | true
not false | not (true and false) | true AND true | false or true | undefined or true | true or none = 'x' | not null
null or true | (null and null) = null | (null or null) = null | null = null | null <= null
(key1 ?? "x") = "value1" | (none ?? 'x') = 'x' | (none ?? none ?? 'x') = 'x' | (as_number(key1) ?? 12.34) = 12.34
(3 % 0 ?? 12.34) = 12.34 | 3 + 4 = 7 | 3 - 4 = -1 | 3 * 4 = 12 | 3 / 4 = 0.75 | 4 % 3 = 1 | -(3 + 4) = -7
0x1F = 31 | 2 + 3 * 4 = 14 | (2 + 3) * 4 = 20 | 10 - 3 - 2 = 5 | 1e3 = 1000 | .5 = 0.5 | -1 < 0 | 7 <= 7 | 8 > 7
'a' < 'b' | 1/0 = 2/0 | 3-4 = 'dashed' | 'it\\'s' = "it's" | "a\\u0062" = 'ab' | 'a' || 'b' || 'c' = 'abc'
'a' || empty || 'd' = 'ad' | AS_NUMBER('10e10') = 10e10 | as_number('10e1000') = 1/0
as_number(' 1,234.5 ') = 1234.5 | as_number(as_number(4)) = 4 | is_bool(true) | is_defined(key1) | is_defined(empty)
is_defined(null) | is_null(null) | is_null(empty) | is_number(12.34) | is_number(as_number(key2)) | is_string('x')
is_string(key1) | is_string('a' || 'b') | is_defined(10e1000) | concat('a', key1, 'd') = 'avalue1d'
length('HELLO') = 5 | length('') = 0 | lower(key3) = 'value3' | UPPER(key1) = 'VALUE1' | substring('abc', 1) = 'bc'
substring('abc', 3) = '' | substring('abc', 1, 1) = 'b' | substring('abc', 1, 0) = '' | index_of('abcdef', 'cd') = 2
index_of('abc', 'x') = -1 | starts_with(key1, 'val') | ends_with(key1, 'e1') | contains(key1, 'lu') | abs(-12) = 12
exp(0) = 1 | exp(4000) = 3/0 | power(2, 3) = 8 | POWER(10, 4000) = 3/0 | square(3) = 9 | sqrt(4) = 2
ceiling(2.1) = 3 | ceiling(-2.1) = -2 | floor(-2.1) = -3 | sign(-2.1) = -1 | sign(0) = 0 | sign(-3 / 0) = -1
is_defined(abs(3 / 0)) | is_defined(power(2, 3 / 0)) | is_defined(floor(3 / 0)) | 50 >= $body.weather.temperature
$BODY.weather.temperature = 40 + 10 | $body.weather.temperature <> '100'
$body.weather.earlier[0] + $body.weather.earlier[1] = 50 | $body.weather.months[0].name = 'Feb'
$body.weather.earlier[1] / $body.weather.earlier[0] = 1.5
$body.weather.earlier[1] * $body.weather.earlier[2] = 1200 | $body.weather.on | NOT $body.weather.off
$body.weather.on AND $body.weather.on | $body.weather.off OR $body.weather.on | $body.weather.nothing = null
$body.weather.missing = null | $body.weather.place.state <> null | $body.weather.missing <> '1'
$body.weather.conflict = '100' | {$body.weather.conflict} = 50
$body.weather.temperature < $body.weather.place.city | abs($body.weather.freezing) = 50.4
contains($body.weather.place.city, 'mon') | is_string($body.weather.place.city)
is_number($body.weather.temperature) | is_bool($body.weather.on) | is_null($body.weather.nothing)
is_null($body.weather.temperature) | as_number($body.weather.temperature) = 50
length($body.weather.place.state) = 2 | power($body.weather.temperature, 2) = 2500
concat($body.weather.place.city, ', ', key2) = 'Redmond, 3'
"""
FALSE = """
3 = 4 | '3' = '4' | true = false | 3 != 3 | key2 = 'value1' | $sys2 = '5' | false | not true | true and false
false and undefined | none = 'true' and false | null | null or false | is_defined(none = '4') | is_defined($none)
3 + 4 < 7 | 'b' < 'a' | is_defined(as_number(none)) | is_defined(3 + as_number(key1)) | is_defined(3 % 0)
is_defined(undefined and true) | is_bool(12.34) | is_bool(key1) | is_null(12.34) | is_null('x') | is_null(none)
is_number('x') | is_number(3 / 0) | is_number(as_number(key1)) | is_string(12.34) | is_string(none)
is_string(empty) | is_defined(concat('a', none)) | is_defined(lower(empty)) | is_defined(length(none))
starts_with('abc', 'x') | contains('abc', key1) | is_defined(-undefined) | $body.weather.temperature < 50
$body.weather.temperature = '50' | 10 >= $body.weather.temperature
$body.weather.place.state = $body.weather.place.city | is_null($body.weather.missing) | $body.weather.off
is_defined($body.weather.place) | is_defined(sqrt(-4))
"""
UNDEFINED = """
3 | 'a text' | undefined | undefined or false | true and undefined | none = "1" | none != '4' | as_number(none) = 3
undefined < undefined | undefined ?? undefined | 'a' < none | 3 < as_number(empty) | substring('abc', 4) = 'c'
substring('abc', -1) = '' | substring('abc', 1, -2) = '' | substring(none, 1) = 'a' | index_of(empty, '1') = 0
sqrt(-4) = -2 | starts_with(none, '1') | $body | $body.weather.time <> '100' | $body.weather.place <> null
as_number('x') = 1 | $City <> $body.weather.missing | $body.weather.temperature AND $body.weather.on
as_number('1_000') = 1000 | $body.weather.earlier[0].deeper AND $body.weather.on
"""
REFUSED = """
3 + none | true + 3 | 3 + undefined | 'a' + 'b' | 'a' * 'b' | 3 % true | undefined - 3 | 3 = none | 3 <= empty
3 = null | key1 ?? "hello" = "value1" | (key1 ?? 12.34) | (key1 ?? null) | concat() = 'x' | concat('a') = 'x'
concat('a', null) = 'x' | 'a' || true = 'x' | length(12.34) = 1 | lower(null) = 'x' | substring('hello') = 'x'
substring('hello', 'a') = 'x' | index_of('hello') = 1 | index_of('hello', 12) = 1 | contains('a', 'b', 'c')
abs(null) = 1 | abs(3, 4) = 7 | power(2) = 4 | test == true | none = " | none and true | undefined and "x"
none or true | - (key1) = 1 | not key1 | nope(3) = 3 | $body.weather[] = 1 | $body.weather[1:2] = 1 | $body;@
(3 = 3 | 3 = 3) | a[0] = '1' | true and $body.weather.on | twin_change_includes(properties.reported.fan)
$body.weather.earlier[0] % 2 = 0
"""


def conditions(table):
    """The conditions of a table, which are separated by bars; a || within blanks is the operator."""
    separated = table.replace(" || ", "\0").replace("\n", "|").split("|")
    return [one.strip().replace("\0", " || ") for one in separated if one.strip()]


@pytest.mark.parametrize("condition", conditions(TRUE))
def test_condition_that_holds_is_true(condition):
    """A message that meets the condition goes the route's way."""
    assert outcome(condition) is True


@pytest.mark.parametrize("condition", conditions(FALSE))
def test_condition_that_does_not_hold_is_false(condition):
    """A message that does not meet the condition does not, and its negation holds."""
    assert outcome(condition) is False


@pytest.mark.parametrize("condition", conditions(UNDEFINED))
def test_condition_about_what_is_missing_is_undefined(condition):
    """What is missing makes neither the condition nor its negation hold."""
    assert outcome(condition) is None


@pytest.mark.parametrize("condition", conditions(REFUSED))
def test_condition_with_operands_that_do_not_fit_is_refused(condition):
    """Operands are checked when the route is read, not when a message comes."""
    with pytest.raises(RouteError) as refused:
        compile_route(f"FROM /* WHERE {condition} INTO $upstream")
    assert refused.value.line == 1
    assert refused.value.column > len("FROM /* WHERE")


@pytest.mark.parametrize(
    "message",
    [
        subject(content_type="text/plain"),
        subject(encoding="utf-16-le"),
        subject(body=b"no json"),
        subject(body=b"[1]"),
        subject(body=b""),
        subject(body=b"[" * 100_000),
    ],
    ids=["content type", "unknown encoding", "no JSON", "a list", "empty", "endless"],
)
def test_body_that_does_not_say_it_is_json_has_no_values(message):
    """Without content type and encoding, or with a body that is no JSON object, every body value is undefined."""
    assert not met("$body.weather.temperature = 50", message)
    assert not met("is_defined($body.weather.temperature)", message)


@pytest.mark.parametrize(("encoding", "codec"), [("UTF-8", "utf-8"), ("utf-16", "utf-16-le"), ("utf-32", "utf-32-le")])
def test_body_is_read_in_each_unicode_encoding(encoding, codec):
    """$.ce may be utf-8, utf-16 or utf-32, in any case."""
    system = {"contentType": "Application/JSON", "contentEncoding": encoding}
    message = Subject({}, system, json.dumps({"ort": "Zürich"}).encode(codec))
    assert met("$body.ort = 'Zürich'", message)


def test_body_is_parsed_once_for_any_number_of_routes(monkeypatch):
    """Several conditions about one body cost one look at it."""
    calls = []
    monkeypatch.setattr(
        "gateway.hub.routing.subject.read_json",
        lambda body, encoding: calls.append(body) or read_json(body, encoding),
    )
    message = subject()
    for _ in range(3):
        assert met("$body.weather.temperature = 50", message)
        assert not met("$body.weather.off", message)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("twin_change_includes(properties.reported.fan)", True),
        ("TWIN_CHANGE_INCLUDES(properties.reported.fan.speed)", True),
        ("twin_change_includes( properties.reported.fan ) AND twin_change_includes(tags.site) = true", True),
        ("twin_change_includes(properties.desired.fan)", False),
        ("not(twin_change_includes(properties.reported.other))", True),
    ],
)
def test_twin_change_is_asked_for_a_part(condition, holds):
    """A route for twin changes can ask whether a property is among what changed."""
    change = {"properties": {"reported": {"fan": {"speed": 1}}}, "tags": {"site": "x"}}
    system = {"contentType": "application/json", "contentEncoding": "utf-8"}
    message = Subject({}, system, json.dumps(change).encode())
    route = compile_route(f"FROM /twinChangeNotifications WHERE {condition} INTO $upstream")
    assert route.meets(message) is holds
    assert not route.meets(Subject({}, system, b"")) or condition.startswith("not")


@pytest.mark.parametrize(
    "argument", ["", "properties.", "123", "properties.abc", "properties.reported.fan[0]", "tags", "tags.a, tags.b"]
)
def test_twin_change_path_that_leads_nowhere_is_refused(argument):
    """The argument is a path below reported, desired or tags."""
    with pytest.raises(RouteError, match=r"no path into a twin|does not belong"):
        compile_route(f"FROM /twinChangeNotifications WHERE twin_change_includes({argument}) INTO $upstream")
