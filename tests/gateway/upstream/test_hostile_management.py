"""Requests that make no sense: they are refused in IoT Hub's words, whatever is in them."""

import random
import re

import pytest

from gateway import GatewayError, ManualClock
from gateway.upstream.query import QueryError, parse_query, parse_target
from tests.gateway.upstream.hubs import EDGE, make_hub

VALUES = [
    None, True, -1, 1.5, 1e308, 10**30, "", "x", "*", "tags.a = 1", "\ud800", "2023-11-14T22:13:20Z", [], [1], {},
    {"a": None}, {"a": 1}, {"properties.desired.a": [None]}, {"queries": {"a": "select"}}, {"queries": 5},
    {"methodName": 5}, {"tags": 5}, {"properties": {"desired": 7}}, {"tags": {"a": {"b": [None]}}}, {"$metadata": {}},
    {"$metadata": {}, "x": 1}, {"$metadata": 1},
]  # fmt: skip
AGENT = {"$edgeAgent": {"properties.desired": {"modules": {"x": 1, "a/b": 2}}}}
#: what each field would take
SENSIBLE = {
    "content": [{"deviceContent": {"properties.desired.a": 1}}, {"modulesContent": AGENT}],
    "modulesContent": [AGENT],
    "type": ["scheduleUpdateTwin", "scheduleDeviceMethod"],
    "updateTwin": [{"tags": {"a": 1}}],
    "cloudToDeviceMethod": [{"methodName": "m"}],
    "queryCondition": ["*", "tags.a = 1"],
    "targetCondition": ["*", "tags.a = 1"],
}
CONFIGURATION = ("id", "content", "targetCondition", "priority", "labels", "metrics", "schemaVersion")
JOB = ("jobId", "type", "updateTwin", "cloudToDeviceMethod", "queryCondition", "startTime", "maxExecutionTimeInSeconds")
PATHS = ["/p", "/c", "/c/x", "/q", "/z/k", "/q/0", "/c/x/y", "/$metadata", "/~2", "", "x", 5, None]
WORDS = re.findall(
    r"\S+",
    r"""
    SELECT * FROM devices devices.modules devices.jobs WHERE GROUP BY AS AND OR NOT IN NIN TOP 5 1.5 0x1f 'a' [ ] ( ) ,
    = != < >= + - / % tags.a properties.reported.x.$version configurations.[[a-b]].status IS_DEFINED( COUNT() AVG( null
    undefined true /* */ \ ' [[ ; é 1e5 .5 5. $ 5abc
    """,
)


def requests(hub, source):
    """Ways to ask for something, each at random."""
    management = hub.management

    def body(*names):
        found = {}
        for name in names:
            if source.random() < (0.9 if name in SENSIBLE else 0.25):
                sensible = name in SENSIBLE and source.random() < 0.8
                found[name] = source.choice(SENSIBLE[name] if sensible else VALUES)
        return found

    def operation():
        kinds = ["add", "replace", "remove", "move", 1]
        return {"op": source.choice(kinds), "path": source.choice(PATHS), "value": source.choice(VALUES)}

    return [
        lambda: management.configurations.put(
            f"c{source.randrange(5)}", body(*CONFIGURATION), source.choice([None, "*", '"MQ=="', "x"])
        ),
        lambda: management.configurations.test(body("targetCondition", "customMetricQueries")),
        lambda: management.deployments.apply_content(EDGE, body("modulesContent", "deviceContent")),
        lambda: management.jobs.create(f"j{source.randrange(9_999)}", body(*JOB)),
        lambda: management.digital_twins.update("a", [operation() for _ in range(source.randrange(3))]),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_are_refused_or_done(seed):
    """Nothing else comes out of them; the hub can tell of everything afterwards, and time goes on."""
    source = random.Random(seed)
    hub, _ = make_hub(ManualClock(1_700_000_000.0), devices=["a", "b"])
    hub.twins.update_reported("a", {"c": {"__t": "c", "x": 1}, "p": {"value": 1, "ac": 5}, "q": [1]})
    hub.twins.update_desired("a", {"c": 5, "z": {"__t": "c", "k": {"m": 1}}})
    asked, refused = requests(hub, source), 0
    for _ in range(1_500):
        try:
            source.choice(asked)()
        except GatewayError:
            refused += 1
    hub.tick()
    assert 0 < refused < 1_500
    assert len(hub.management.configurations.documents()) == 5
    assert hub.management.jobs.page(hub.management.queries).items
    assert hub.management.digital_twins.document("a")[0]["$dtId"] == "a"


@pytest.mark.parametrize("seed", range(3))
def test_random_queries_are_read_or_refused_with_a_place(seed):
    """And those that are read can be answered."""
    source, document = random.Random(seed), {"tags": {"a": [1, {"b": None}]}, "properties": {"reported": {"x": {}}}}
    for _ in range(1_500):
        words = " ".join(source.choice(WORDS) for _ in range(source.randrange(1, 14)))
        text = source.choice(["", "SELECT * FROM devices WHERE ", "SELECT * FROM devices WHERE tags.a = "]) + words
        for read in (parse_query, lambda one: parse_target(one)[0]):
            meets, place = None, (1, 1)
            try:
                meets = read(text).meets
            except QueryError as wrong:
                place = (wrong.line, wrong.column)
            assert place[0] == 1
            assert 1 <= place[1] <= len(text) + 1
            assert meets is None or meets(document) in {True, False}
