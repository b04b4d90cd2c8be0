"""Clauses of queries: what they say, and where they are wrong."""

import json
import re
from pathlib import Path

import pytest

from gateway.hub.routing.config import read_config
from gateway.upstream.query import QueryError, parse_query, parse_target
from gateway.upstream.query.parser import Item


def test_query_for_everything():
    """The documentation's simplest query."""
    query = parse_query("SELECT * FROM devices")
    assert (query.collection, query.items, query.meets, query.group_by, query.top) == ("devices", (), None, None, None)
    assert not query.aggregates


def test_projection_is_named_by_its_alias_or_its_last_name():
    """IoT Hub's own names come out as IoT Hub spells them."""
    query = parse_query("select DEVICEID, properties.reported.x.y, tags.a as count from devices")
    assert query.items == (
        Item("deviceId", ("deviceId",)),
        Item("y", ("properties", "reported", "x", "y")),
        Item("count", ("tags", "a")),
    )


def test_grouping_query_of_the_documentation():
    """Grouped property and number of devices."""
    path = ("properties", "reported", "telemetryConfig", "status")
    query = parse_query(
        "SELECT properties.reported.telemetryConfig.status AS status,\n    COUNT() AS numberOfDevices\n"
        "  FROM devices\n  GROUP BY properties.reported.telemetryConfig.status\n"
    )
    assert query.items == (Item("status", path), Item("numberOfDevices", (), "COUNT"))
    assert (query.group_by, query.aggregates) == (path, True)


def test_query_knows_whether_it_looks_at_metadata():
    """Only then documents have to be complete to be judged."""
    assert parse_query("SELECT * FROM devices WHERE properties.reported.$metadata.$lastUpdated > '2020'").metadata
    assert not parse_query("SELECT * FROM devices WHERE properties.reported.$version > 1").metadata


def test_jobs_are_named_with_their_collection():
    """The documentation's example calls the time of creation by another name than its document does."""
    query = parse_query(
        "SELECT * FROM devices.jobs\n  WHERE devices.jobs.deviceId = 'myDeviceId'\n"
        "    AND devices.jobs.jobType = 'scheduleUpdateTwin'\n    AND devices.jobs.status = 'completed'\n"
        "    AND devices.jobs.createdTimeUtc > '2016-09-01'"
    )
    job = {"deviceId": "myDeviceId", "jobType": "scheduleUpdateTwin", "status": "completed"}
    assert query.meets is not None
    assert query.meets(job | {"createdDateTimeUtc": "2016-09-29T18:18:56.7787107Z"})
    assert not query.meets(job | {"createdDateTimeUtc": "2016-08-29T18:18:56.7787107Z"})


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", (1, 1), "there is no query"),
        ("   ", (1, 4), "there is no query"),
        ("SELECT", (1, 7), "the query ends too early"),
        ("SELECT * FROM", (1, 14), "the query ends too early"),
        ("SELECT *\nFROM devices\nWHERE", (3, 6), "the query ends too early"),
        ("FROM devices", (1, 1), "Unexpected input at 'FROM'"),
        ("SELECT * FROM twins", (1, 15), "there is no collection twins"),
        ("SELECT * FROM devices d", (1, 23), "Unexpected input at 'd'"),
        ("SELECT * FROM devices\n  ORDER BY deviceId", (2, 3), "Unexpected input at 'ORDER'"),
        ("SELECT deviceId FROM devices LIMIT 10", (1, 30), "Unexpected input at 'LIMIT'"),
        ("SELECT TOP 0 * FROM devices", (1, 12), "0 is no number of rows"),
        ("SELECT TOP 1.5 * FROM devices", (1, 12), "1.5 is no number of rows"),
        ("SELECT COUNT() FROM devices", (1, 8), "COUNT has no name"),
        ("SELECT COUNT(tags.a) AS n FROM devices", (1, 8), "COUNT takes nothing"),
        ("SELECT AVG() AS n FROM devices", (1, 8), "AVG takes one property"),
        ("SELECT MEDIAN(tags.a) AS n FROM devices", (1, 8), "there is no aggregate MEDIAN"),
        ("SELECT deviceId AS a.b FROM devices", (1, 20), "a.b is no alias"),
        ("SELECT deviceId, COUNT() AS n FROM devices", (1, 8), "deviceId is neither grouped by nor aggregated"),
        (
            "SELECT status, version FROM devices GROUP BY status",
            (1, 16),
            "version is neither grouped by nor aggregated",
        ),
        ("SELECT * FROM devices GROUP BY status", (1, 1), "SELECT * cannot be grouped"),
        ("SELECT COUNT() AS n FROM devices.modules GROUP BY moduleId", (1, 51), "devices.modules cannot be grouped"),
        ("SELECT jobId FROM devices.jobs", (1, 8), "devices.jobs has no projections and no aggregates"),
        ("SELECT COUNT() AS n FROM devices.jobs", (1, 8), "devices.jobs has no projections and no aggregates"),
        ("SELECT * FROM devices.jobs WHERE tags.a = 1", (1, 34), "tags.a belongs to a twin"),
        ("SELECT * FROM devices WHERE " + "a" * 8_192, (1, 1), "the query has 8220 characters; 8192 is the most"),
    ],
    ids=lambda one: one[:40] if isinstance(one, str) else None,
)
def test_query_that_cannot_be_read(text, place, problem):
    """Line and column count from 1."""
    with pytest.raises(QueryError) as refused:
        parse_query(text)
    assert ((refused.value.line, refused.value.column), refused.value.problem) == (place, problem)


def test_error_tells_what_was_expected():
    """The hint names what may stand there."""
    with pytest.raises(QueryError) as refused:
        parse_query("SELECT * devices")
    assert refused.value.message == (
        "SQL query parse failed due to following errors: \n\tLine 1:10 Unexpected input at 'devices' (expected FROM)"
    )


def test_target_condition_is_what_follows_where():
    """Or everything, or a query from FROM on; the properties that it names are told."""
    query, paths = parse_target("tags.building=9 AND tags.environment='test'")
    assert (query.collection, [path for path, _ in paths]) == (
        "devices",
        [("tags", "building"), ("tags", "environment")],
    )
    assert query.meets is not None
    assert query.meets({"tags": {"building": 9, "environment": "test"}})
    everything, paths = parse_target("*")
    assert (everything.collection, everything.meets, paths) == ("devices", None, [])
    modules, _ = parse_target("from devices.modules where tags.building=9")
    assert modules.collection == "devices.modules"
    assert parse_target("FROM devices.modules")[0].meets is None


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("tags.a =", 9, "the query ends too early"),
        ("FROM devices.jobs", 6, "devices.jobs cannot be a target"),
        ("* AND tags.a", 3, "Unexpected input at 'AND'"),
    ],
)
def test_target_condition_that_cannot_be_read(text, column, problem):
    """Places count from the condition's own start."""
    with pytest.raises(QueryError) as refused:
        parse_target(text)
    assert (refused.value.column, refused.value.problem) == (column, problem)


def test_page_about_the_cloud_shows_what_works():
    """Its queries are read, and so are the routes of its deployment; the error is the one that it shows."""
    page = (Path(__file__).parents[4] / "docs" / "upstream.md").read_text(encoding="utf-8")
    statements = [one for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for one in block.split("\n\n")]
    assert len(statements) == 3
    for statement in statements:
        parse_query(statement)
    (content,) = re.findall(r"-d '\n(.*?)'\n```", page, re.DOTALL)
    routes = json.loads(content)["modulesContent"]["$edgeHub"]["properties.desired"]
    assert list(read_config(routes).routes) == ["hot"]
    with pytest.raises(QueryError) as refused:
        parse_query("SELECT * FROM devices WHERE SELECT")
    assert refused.value.message.partition("\n")[2] in page
