"""What conditions of queries come to, with the documentation's examples.

True, False and None (undefined) are told apart by asking for the condition, for its negation, and for neither.
"""

import pytest

from gateway.upstream.query import QueryError, parse_query

TWIN = {
    "deviceId": "press-7",
    "status": "enabled",
    "connectionState": "Disconnected",
    "version": 5,
    "capabilities": {"iotEdge": False},
    "parentScopes": ["ms-azure-iot-edge://gw-6123", None],
    "configurations": {"chiller.settings-wa": {"status": "Applied"}},
    "tags": {"location": {"region": "US", "plant": "Redmond43"}, "building": 9, "on": True, "List": [1, "a"], "Ä": "ä"},
    "properties": {
        "desired": {"telemetryConfig": {"sendFrequencyInSecs": 300}, "$version": 4},
        "reported": {
            "telemetryConfig": {"sendFrequencyInSecs": 300, "status": "Success"},
            "connectivity": "wifi",
            "lastDesiredVersion": 4,
            "nothing": None,
            "off": False,
            "$version": 7,
        },
    },
}

TABLE = [
    # the documentation's examples
    ("tags.location.region = 'US'", True),
    ("tags.location.region = 'US' AND properties.reported.telemetryConfig.sendFrequencyInSecs >= 60", True),
    ("properties.reported.connectivity IN ['wired', 'wifi']", True),
    ("properties.reported.connectivity NIN ['wired', 'wifi']", False),
    ("is_defined(properties.reported.connectivity)", True),
    ("is_defined(property.reported.connectivity)", False),
    ("status = 'enabled' AND connectionState = 'Disconnected'", True),
    ("deviceId IN ['device1', 'press-7']", True),
    ("IS_DEFINED(DeviceId)", True),
    ("tags.building=9 and tags.environment='test'", None),
    ("properties.desired.telemetryConfig = properties.reported.telemetryConfig", None),
    ("properties.desired.$version = properties.reported.lastDesiredVersion", True),
    ("configurations.[[chiller.settings-wa]].status = 'Applied'", True),
    ("configurations.[[another]].status = 'Applied'", None),
    ("array_contains(parentScopes, 'ms-azure-iot-edge://gw-6123')", True),
    ("array_contains(parentScopes, 'ms-azure-iot-edge://gw-7')", False),
    ("capabilities.iotEdge = true", False),
    # comparisons
    ("tags.building != 9", False),
    ("tags.building <> 8", True),
    ("tags.building < 9.5", True),
    ("tags.building <= 9", True),
    ("tags.building > 9", False),
    ("tags.building >= 0x9", True),
    ("9 = 9.0", True),
    ("'b' > 'a'", True),
    ("'B' > 'a'", False),
    ("'us' = tags.location.region", False),
    ("tags.building = '9'", False),
    ("tags.building != '9'", True),
    ("tags.building < '9'", None),
    ("tags.on = 1", False),
    ("tags.on = true", True),
    ("tags.on > false", None),
    ("properties.reported.nothing = null", True),
    ("properties.reported.nothing != null", False),
    ("tags.location = 'x'", None),
    ("tags.missing = 'x'", None),
    ("tags.missing != 'x'", None),
    ("tags.missing = undefined", None),
    ("tags.Building = 9", None),
    ("tags.List = 1", None),
    ("tags.Ä = 'ä'", True),
    # names of IoT Hub's own compare without case, and may be told from the collection on
    ("DEVICEID = 'press-7'", True),
    ("Properties.Reported.connectivity = 'wifi'", True),
    ("Capabilities.IotEdge = false", True),
    ("devices.tags.building = 9", True),
    ("Tags.building = 9", True),
    # AND, OR, NOT
    ("tags.on", True),
    ("properties.reported.off", False),
    ("NOT tags.on", False),
    ("NOT properties.reported.off", True),
    ("not not tags.on", True),
    ("tags.missing AND properties.reported.off", False),
    ("tags.missing AND tags.on", None),
    ("tags.missing OR tags.on", True),
    ("tags.missing OR properties.reported.off", None),
    ("true OR false AND false", True),
    ("(true OR false) AND false", False),
    ("NOT tags.building = 8 AND tags.on", True),
    ("tags.building AND tags.on", False),
    ("NOT IS_DEFINED(tags.missing)", True),
    # calculations
    ("tags.building + 1 = 10", True),
    ("1 + 2 * 3 - 4 / 2 = 5", True),
    ("10 % 4 = 2", True),
    ("-tags.building = -9", True),
    ("1 / 0 = 1", None),
    ("1e308 * 10 = 1", None),
    ("tags.missing + 1 = 1", None),
    ("'a' + 'b' = 'ab'", None),
    # several values
    ("tags.building IN [8, 9]", True),
    ("tags.building IN [-9, '9', true]", False),
    ("tags.on IN [1]", False),
    ("tags.missing IN ['a']", None),
    ("tags.missing NIN ['a']", None),
    ("tags.building IN []", False),
    # functions
    ("IS_NULL(properties.reported.nothing)", True),
    ("IS_NULL(tags.missing)", False),
    ("IS_DEFINED(properties.reported.nothing)", True),
    ("IS_BOOL(tags.on)", True),
    ("IS_NUMBER(tags.building)", True),
    ("IS_NUMBER(tags.on)", False),
    ("IS_STRING(tags.location.plant)", True),
    ("IS_OBJECT(tags.location)", True),
    ("IS_ARRAY(tags.List)", True),
    ("IS_PRIMITIVE(properties.reported.nothing)", True),
    ("IS_PRIMITIVE(tags.location)", False),
    ("IS_PRIMITIVE(tags.missing)", False),
    ("STARTSWITH(deviceId, 'press')", True),
    ("starts_with(deviceId, 'Press')", False),
    ("ENDSWITH(deviceId, '-7')", True),
    ("ENDS_WITH(deviceId, tags.building)", None),
    ("CONTAINS(deviceId, 'ss-')", True),
    ("CONTAINS(tags.missing, 'x')", None),
    ("ARRAY_CONTAINS(tags.List, 1)", True),
    ("ARRAY_CONTAINS(tags.List, true)", False),
    ("ARRAY_CONTAINS(tags.building, 1)", None),
    # texts, comments
    (r"'it\'s' = " + '"it\'s"', True),
    (r"'\u0041\\' = 'A\\'", True),
    ("'a\nb' = 'a\nb'", True),
    ("/* the hall */ tags.building /* has */ = 9", True),
    ("'select' = 'select'", True),
]


def met(condition):
    """Whether the twin meets a condition."""
    meets = parse_query(f"SELECT * FROM devices WHERE {condition}").meets
    assert meets is not None
    return meets(TWIN)


@pytest.mark.parametrize(("condition", "expected"), TABLE, ids=[condition for condition, _ in TABLE])
def test_condition_comes_to(condition, expected):
    """Each condition is true, false, or undefined: then neither it nor its negation is met."""
    assert (met(condition), met(f"NOT ({condition})")) == (expected is True, expected is False)


@pytest.mark.parametrize(
    ("condition", "column", "problem"),
    [
        ("FOO(tags.a)", 1, "there is no function FOO in conditions"),
        ("COUNT() > 1", 1, "there is no function COUNT in conditions"),
        ("IS_DEFINED('a')", 1, "IS_DEFINED takes one property"),
        ("IS_DEFINED(tags.a, tags.b)", 1, "IS_DEFINED takes one property"),
        ("IS_NULL()", 1, "IS_NULL takes 1 argument, not 0"),
        ("tags.a = 1 AND STARTSWITH(deviceId)", 16, "STARTSWITH takes 2 arguments, not 1"),
        (r"tags.a = 'x\n'", 10, r"\n is no escape"),
        ("tags.a IN ('x')", 11, "Unexpected input at '('"),
        ("tags.a NOT IN ['x']", 8, "Unexpected input at 'NOT'"),
        ("tags.a LIKE 'x%'", 8, "Unexpected input at 'LIKE'"),
        ("tags.a == 1", 9, "Unexpected input at '='"),
        ("tags.a = 'x", 10, "the text is not closed"),
        ("tags.a = 1 # note", 12, "Unexpected character at input '#'"),
        ("tags.a =", 9, "the query ends too early"),
        ("tags.a[0] = 1", 7, "Unexpected input at '['"),
        ("SELECT * FROM devices", 1, "Unexpected input at 'SELECT'"),
    ],
)
def test_condition_that_cannot_be_read(condition, column, problem):
    """The place and what is wrong there are told, in IoT Hub's words."""
    with pytest.raises(QueryError) as refused:
        met(condition)
    error = refused.value
    column += len("SELECT * FROM devices WHERE ")
    assert (error.line, error.column, error.problem) == (1, column, problem)
    assert error.message.startswith(f"SQL query parse failed due to following errors: \n\tLine 1:{column} {problem}")
    assert (error.status, error.code) == (400, "ArgumentInvalid")


@pytest.mark.parametrize(
    "condition", ["(" * 101 + "true" + ")" * 101, "+".join(["1"] * 200) + " = 1", "not " * 101 + "true"]
)
def test_condition_nested_too_deeply(condition):
    """A hundred levels are the most; the interpreter's stack is not the sender's to use up."""
    with pytest.raises(QueryError, match="nested too deeply"):
        met(condition)


def test_condition_with_many_parts_in_a_row():
    """Chains of AND and OR may be as long as a query."""
    assert met(" AND ".join(["tags.on"] * 500))
    assert met(" OR ".join(["tags.no"] * 500 + ["tags.on"]))
