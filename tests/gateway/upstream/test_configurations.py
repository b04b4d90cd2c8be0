"""Configurations as the hub keeps them: created, updated, counted."""

import pytest

from gateway import ManualClock
from gateway.errors import ServiceError
from tests.gateway.upstream.hubs import make_hub

#: the documentation's example ("Automatic device management at scale")
CHILLER = {
    "content": {"deviceContent": {"properties.desired.chillerWaterSettings": {"temperature": 38, "pressure": 78}}},
    "targetCondition": "tags.environment='test'",
    "priority": 10,
    "labels": {"HostPlatform": "Linux"},
    "metrics": {
        "queries": {
            "Compliant": "select deviceId from devices where configurations.[[chiller]].status = 'Applied'"
            " AND properties.reported.chillerWaterSettings.status='current'"
        }
    },
}
AGENT = {"$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {}}}}


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def hub(clock):
    """A hub with two devices."""
    return make_hub(clock, devices=["a", "b"])[0]


def refused(action, *given, **options):
    """Status and code of what an action is refused with."""
    with pytest.raises(ServiceError) as error:
        action(*given, **options)
    return error.value.status, error.value.code


def test_configuration_shows_what_was_put(hub):
    """With moments, ETag, and the metrics' queries and results."""
    assert hub.management.configurations.put("chiller", CHILLER | {"id": "chiller"})
    assert hub.management.configurations.document("chiller") == {
        "id": "chiller",
        "schemaVersion": "1.0",
        "labels": {"HostPlatform": "Linux"},
        "content": CHILLER["content"],
        "targetCondition": "tags.environment='test'",
        "createdTimeUtc": "2023-11-14T22:13:20.000000Z",
        "lastUpdatedTimeUtc": "2023-11-14T22:13:20.000000Z",
        "priority": 10,
        "systemMetrics": {
            "results": {"targetedCount": 0, "appliedCount": 0},
            "queries": {
                "targetedCount": "select deviceId from devices where tags.environment='test'",
                "appliedCount": "select deviceId from devices where configurations.[[chiller]].status = 'Applied'",
            },
        },
        "metrics": {"results": {"Compliant": 0}, "queries": CHILLER["metrics"]["queries"]},
        "etag": "MQ==",
    }


def test_metrics_count_when_somebody_looks(hub):
    """Targeted and applied twins, and rows of custom metrics."""
    hub.management.configurations.put("chiller", CHILLER)
    hub.twins.update_tags("a", {"environment": "test"})
    hub.twins.update_reported("a", {"chillerWaterSettings": {"status": "current"}})
    document = hub.management.configurations.document("chiller")
    assert document["systemMetrics"]["results"] == {"targetedCount": 1, "appliedCount": 1}
    assert document["metrics"]["results"] == {"Compliant": 1}


def test_create_only_without_if_match_and_update_only_with_it(hub, clock):
    """409, 404 and 412; an ETag counts in quotes, the wildcard with or without."""
    put, get = hub.management.configurations.put, hub.management.configurations.document
    assert refused(put, "chiller", CHILLER, '"MQ=="') == (404, "ConfigurationNotFound")
    assert put("chiller", CHILLER) is True
    assert refused(put, "chiller", CHILLER) == (409, "ConfigurationAlreadyExists")
    assert refused(put, "chiller", CHILLER, "MQ==") == (409, "ConfigurationAlreadyExists")
    assert refused(put, "chiller", CHILLER, '"Mg=="') == (412, "PreconditionFailed")
    clock.advance(60)
    assert put("chiller", CHILLER | {"priority": 11}, '"MQ=="') is False
    assert (get("chiller")["etag"], get("chiller")["priority"]) == ("Mg==", 11)
    assert get("chiller")["lastUpdatedTimeUtc"] == "2023-11-14T22:14:20.000000Z"
    assert get("chiller")["createdTimeUtc"] == "2023-11-14T22:13:20.000000Z"
    assert put("chiller", CHILLER, '"*"') is False
    assert put("chiller", CHILLER, "*") is False
    assert get("chiller")["etag"] == "NA=="


def test_content_cannot_be_changed(hub):
    """An update has to repeat it, and another one is ignored without a word."""
    put, get = hub.management.configurations.put, hub.management.configurations.document
    put("chiller", CHILLER)
    put("chiller", CHILLER | {"content": {"deviceContent": {"properties.desired.other": 1}}}, "*")
    assert get("chiller")["content"] == CHILLER["content"]
    without = {name: value for name, value in CHILLER.items() if name != "content"}
    assert refused(put, "chiller", without, "*") == (400, "InvalidConfigurationContent")


def test_deleting(hub):
    """Without If-Match, or with the right one; then the id is free again."""
    configurations = hub.management.configurations
    configurations.put("chiller", CHILLER)
    assert refused(configurations.delete, "chiller", '"Mg=="') == (412, "PreconditionFailed")
    configurations.delete("chiller", '"MQ=="')
    assert refused(configurations.delete, "chiller") == (404, "ConfigurationNotFound")
    assert refused(configurations.document, "chiller") == (404, "ConfigurationNotFound")
    assert configurations.put("chiller", CHILLER)
    configurations.delete("chiller")
    assert configurations.documents() == []


def test_list_is_in_the_order_of_ids(hub):
    """Whatever the order of creation."""
    for config_id in ("b", "a", "c"):
        hub.management.configurations.put(config_id, CHILLER)
    assert [one["id"] for one in hub.management.configurations.documents()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": "other"}, "ArgumentInvalid"),
        ({"priority": -1}, "ArgumentInvalid"),
        ({"priority": "10"}, "ArgumentInvalid"),
        ({"priority": True}, "ArgumentInvalid"),
        ({"labels": {"a": 1}}, "ArgumentInvalid"),
        ({"labels": []}, "ArgumentInvalid"),
        ({"metrics": 1}, "ArgumentInvalid"),
        ({"targetCondition": 1}, "ArgumentInvalid"),
        ({"targetCondition": "tags.a ="}, "InvalidConfigurationTargetCondition"),
        ({"targetCondition": "properties.desired.a = 1"}, "InvalidConfigurationTargetCondition"),
        ({"targetCondition": "status = 'enabled'"}, "InvalidConfigurationTargetCondition"),
        ({"targetCondition": "FROM devices.modules WHERE tags.a = 1"}, "InvalidConfigurationTargetCondition"),
        ({"metrics": {"queries": {"x": "select"}}}, "InvalidConfigurationCustomMetricsQuery"),
        (
            {"metrics": {"queries": {f"m{number}": "select * from devices" for number in range(6)}}},
            "InvalidConfigurationCustomMetricsQuery",
        ),
        ({"content": None}, "InvalidConfigurationContent"),
        ({"content": {}}, "InvalidConfigurationContent"),
        ({"content": {"deviceContent": {}}}, "InvalidConfigurationContent"),
        ({"content": {"deviceContent": {"tags.a": 1}}}, "InvalidConfigurationContent"),
        ({"content": {"deviceContent": {"properties.desired..a": 1}}}, "InvalidConfigurationContent"),
        ({"content": {"deviceContent": {"properties.desired": 1}}}, "InvalidConfigurationContent"),
        ({"content": {"deviceContent": [1]}}, "InvalidConfigurationContent"),
        ({"content": {"something": {"a": 1}}}, "InvalidConfigurationContent"),
        ({"content": CHILLER["content"] | {"modulesContent": AGENT}}, "InvalidConfigurationContent"),
        ({"content": {"modulesContent": {"camera": {"properties.desired": {}}}}}, "InvalidConfigurationContent"),
        ({"content": {"modulesContent": AGENT | {"camera": 1}}}, "InvalidConfigurationContent"),
        ({"content": {"modulesContent": AGENT | {"a/b": {"properties.desired": {}}}}}, "InvalidConfigurationContent"),
        (
            {"content": {"modulesContent": AGENT | {f"m{n}": {"properties.desired": {}} for n in range(50)}}},
            "InvalidConfigurationContent",
        ),
    ],
    ids=str,
)
def test_configuration_that_is_refused(hub, change, code):
    """With 400 and IoT Hub's code, and nothing is kept."""
    assert refused(hub.management.configurations.put, "chiller", CHILLER | change) == (400, code)
    assert len(hub.management.configurations) == 0


@pytest.mark.parametrize("config_id", ["Chiller", "a b", "a&b", "a/b", "", "x" * 129])
def test_id_that_is_refused(hub, config_id):
    """Up to 128 lower-case letters, digits and some signs."""
    assert refused(hub.management.configurations.put, config_id, CHILLER) == (400, "ArgumentInvalid")


@pytest.mark.parametrize(
    ("content", "condition", "query"),
    [
        (
            {"modulesContent": AGENT},
            "tags.a = 1 or tags.b = 2",
            "where capabilities.iotEdge = true and (tags.a = 1 or tags.b = 2)",
        ),
        ({"modulesContent": AGENT}, "*", "where capabilities.iotEdge = true"),
        ({"modulesContent": AGENT}, "FROM devices WHERE tags.a=1", "where capabilities.iotEdge = true and (tags.a=1)"),
        (CHILLER["content"], "*", ""),
    ],
    ids=str,
)
def test_query_for_targeted_devices(hub, content, condition, query):
    """An edge deployment is for edge devices alone."""
    hub.management.configurations.put("one", {"content": content, "targetCondition": condition})
    found = hub.management.configurations.document("one")["systemMetrics"]["queries"]["targetedCount"]
    assert found == f"select deviceId from devices {query}".strip()


def test_query_for_targeted_modules(hub):
    """What a target condition has in front of FROM is the hub's business."""
    content = {"moduleContent": {"properties.desired.a": 1}}
    condition = "select moduleId from devices.modules where tags.building=9"
    hub.management.configurations.put("one", {"content": content, "targetCondition": condition})
    found = hub.management.configurations.document("one")["systemMetrics"]["queries"]["targetedCount"]
    assert found == "select deviceId, moduleId from devices.modules where tags.building=9"


def test_queries_can_be_tried(hub):
    """What is wrong is told by name; nothing is told of what is right."""
    test = hub.management.configurations.test
    assert test({"targetCondition": "from devices.modules where tags.building=9"}) == {}
    assert test({}) == {}
    answer = test(
        {
            "targetCondition": "tags.building=",
            "customMetricQueries": {"good": "select deviceId from devices", "bad": "select deviceId"},
        }
    )
    start = "SQL query parse failed due to following errors: \n\tLine 1:"
    assert answer["targetConditionError"].startswith(f"{start}15 the query ends too early")
    assert list(answer["customMetricQueryErrors"]) == ["bad"]
    assert answer["customMetricQueryErrors"]["bad"].startswith(f"{start}16 the query ends too early")
    assert refused(test, {"customMetricQueries": {"x": 1}}) == (400, "ArgumentInvalid")


def test_configurations_come_back_as_they_were_kept(clock):
    """Documents go out through `keep`, and load makes the same of them."""
    kept = {}

    def keep(kind, key, document):
        kept.setdefault(kind, {}).pop(key, None)
        if document is not None:
            kept[kind][key] = document

    hub, _ = make_hub(clock, devices=["a"], keep=keep)
    hub.management.configurations.put("chiller", CHILLER)
    hub.management.configurations.put("gone", CHILLER)
    hub.management.configurations.delete("gone")
    again, _ = make_hub(clock, devices=["a"])
    again.management.load(kept)
    assert again.management.configurations.documents() == hub.management.configurations.documents()
