"""Twins as the cloud keeps them."""

import copy
import dataclasses
import json
import random
from types import MappingProxyType

import pytest

from gateway import ManualClock
from gateway.errors import HubCode, TwinRefusedError
from gateway.upstream.twins import Twins

START = "2023-11-14T22:13:20.000000Z"
LATER = "2023-11-14T22:13:21.500000Z"


@pytest.fixture
def clock():
    """A clock that stands still."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
def twins(clock):
    """An empty cloud."""
    return Twins(clock.now)


def random_patch(source, depth=3):
    """A patch with nulls at any depth."""
    kinds = [None, 1, 2.5, "x", True, [1, {"a": 2}]]
    return {
        name: random_patch(source, depth - 1) if depth and source.random() < 0.4 else source.choice(kinds)
        for name in source.sample("abcde", source.randrange(4))
    }


def rfc_7396(target, patch):
    """The pseudo code of RFC 7396 section 2."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = rfc_7396(target.get(name), value)
    return target


def test_twin_is_empty_at_first(twins, clock):
    """Created when it is asked for, with both versions 1; the moment stays."""
    twin = twins.get("press")
    assert (twin.tags, twin.desired, twin.reported) == ({}, {}, {})
    assert (twin.desired_version, twin.reported_version, twin.version) == (1, 1, 1)
    assert (twin.etag, twin.last_updated) == ("AAAAAAAAAAE=", clock.now())
    clock.advance(10)
    assert twins.get("press") is twin


def test_desired_change_raises_its_version_and_tells_observers(twins):
    """They are told client id, patch with nulls, and the version; reported keeps its own."""
    told = []
    twins.subscribe(lambda *change: told.append(change))
    assert twins.update_desired("press/filter", {"speed": {"fan": 1, "pump": 2}}) == 2
    assert twins.update_desired("press/filter", {"speed": {"fan": None}, "ghost": None}) == 3
    assert told == [
        ("press/filter", {"speed": {"fan": 1, "pump": 2}}, 2),
        ("press/filter", {"speed": {"fan": None}, "ghost": None}, 3),
    ]
    twin = twins.get("press/filter")
    assert twin.desired == {"speed": {"pump": 2}}
    assert (twin.desired_version, twin.reported_version, twin.version) == (3, 1, 3)
    assert twins.get("press").desired_version == 1


def test_reported_change_raises_its_version_and_tells_nobody(twins):
    """A back end's ETag stays good over it."""
    told = []
    twins.subscribe(lambda *change: told.append(change))
    assert twins.update_reported("press", {"a": {"b": 1}}) == 2
    assert twins.update_reported("press", {"a": {"b": None, "c": 2}}) == 3
    twin = twins.get("press")
    assert twin.reported == {"a": {"c": 2}}
    assert (twin.desired_version, twin.reported_version, twin.version) == (1, 3, 3)
    assert twin.etag == "AAAAAAAAAAE="
    assert told == []


def test_tags_change_the_etag_and_no_properties(twins):
    """None clears them."""
    twins.update_tags("press", {"hall": {"number": 7}})
    assert twins.get("press").tags == {"hall": {"number": 7}}
    twins.update_tags("press", {"hall": {"number": None}})
    assert twins.get("press").tags == {"hall": {}}
    twins.update_tags("press", None)
    twin = twins.get("press")
    assert (twin.tags, twin.version, twin.etag) == ({}, 4, "AAAAAAAAAAQ=")
    assert (twin.desired_version, twin.reported_version) == (1, 1)


def test_desired_of_none_clears_everything(twins):
    """`{"desired": null}` of the REST API: devices are told a null for each property."""
    told = []
    twins.update_desired("press", {"a": {"b": 1}, "c": [1]})
    twins.subscribe(lambda *change: told.append(change))
    assert twins.update_desired("press", None) == 3
    assert twins.get("press").desired == {}
    assert told == [("press", {"a": None, "c": None}, 3)]


def test_replacing_desired_tells_null_for_what_is_gone(twins):
    """At any depth; what stays is told again, nulls of the new document are nothing."""
    told = []
    twins.update_desired("press", {"a": {"b": 1, "c": 2}, "d": 3, "e": {"f": 4}, "same": 5})
    twins.subscribe(lambda *change: told.append(change))
    assert twins.replace_desired("press", {"a": {"c": 2, "x": None}, "e": 7, "same": 5, "y": None}) == 3
    assert twins.get("press").desired == {"a": {"c": 2}, "e": 7, "same": 5}
    assert told == [("press", {"a": {"b": None, "c": 2}, "d": None, "e": 7, "same": 5}, 3)]


@pytest.mark.parametrize("seed", range(150))
def test_any_row_of_changes_gives_what_rfc_7396_says(seed):
    """Document, wire form and metadata agree after each step, and replacing reaches its aim."""
    source, twins = random.Random(seed), Twins(lambda: 0.0)
    expected = {"desired": {}, "reported": {}}
    told = {}
    twins.subscribe(lambda _, patch, __: told.update(now=rfc_7396(told.get("now", {}), patch)))
    for _ in range(6):
        section, patch = source.choice(["desired", "reported"]), random_patch(source)
        if source.random() < 0.2:
            section = "desired"
            expected[section] = rfc_7396({}, patch)
            twins.replace_desired("press", patch)
        else:
            expected[section] = rfc_7396(expected[section], patch)
            {"desired": twins.update_desired, "reported": twins.update_reported}[section]("press", patch)
        wire, document = json.loads(twins.wire("press")), twins.document("press")
        for name, properties in expected.items():
            served = document["properties"][name]
            assert wire[name] == properties | {"$version": served["$version"]}
            assert shape(served.pop("$metadata")) == shape({n: v for n, v in served.items() if n != "$version"})
    assert told.get("now", {}) == expected["desired"] == twins.get("press").desired


def shape(document):
    """The names of a document, without the service's own."""
    inside = document.items() if isinstance(document, dict) else ()
    return {name: shape(value) for name, value in inside if not name.startswith("$")}


def test_wire_form_is_compact_and_made_once(twins):
    """As a device gets it; the same bytes until the twin changes."""
    assert twins.wire("press") == b'{"desired":{"$version":1},"reported":{"$version":1}}'
    twins.update_desired("press", {"colour": "grün", "n": [1, {"a": 2}]})
    wire = twins.wire("press")
    assert wire == '{"desired":{"colour":"grün","n":[1,{"a":2}],"$version":2},"reported":{"$version":1}}'.encode()
    assert twins.wire("press") is wire
    twins.update_reported("press", {"x": 1.5})
    assert twins.wire("press").endswith(b',"reported":{"x":1.5,"$version":2}}')
    twins.remove("press")
    assert twins.wire("press") == b'{"desired":{"$version":1},"reported":{"$version":1}}'


def test_service_document_has_metadata_of_each_property(twins, clock):
    """$lastUpdated where it was set, also on the objects above; $lastUpdatedVersion in desired only."""
    twins.update_desired("press/filter", {"a": {"b": 1, "c": 2}, "list": [1, 2]})
    twins.update_reported("press/filter", {"r": 1})
    clock.advance(1.5)
    twins.update_desired("press/filter", {"a": {"b": 3}})
    twins.update_tags("press/filter", {"hall": 7})
    assert twins.document("press/filter") == {
        "deviceId": "press",
        "moduleId": "filter",
        "etag": "AAAAAAAAAAQ=",
        "version": 5,
        "tags": {"hall": 7},
        "properties": {
            "desired": {
                "a": {"b": 3, "c": 2},
                "list": [1, 2],
                "$metadata": {
                    "$lastUpdated": LATER,
                    "$lastUpdatedVersion": 3,
                    "a": {
                        "$lastUpdated": LATER,
                        "$lastUpdatedVersion": 3,
                        "b": {"$lastUpdated": LATER, "$lastUpdatedVersion": 3},
                        "c": {"$lastUpdated": START, "$lastUpdatedVersion": 2},
                    },
                    "list": {"$lastUpdated": START, "$lastUpdatedVersion": 2},
                },
                "$version": 3,
            },
            "reported": {
                "r": 1,
                "$metadata": {"$lastUpdated": START, "r": {"$lastUpdated": START}},
                "$version": 2,
            },
        },
    }


def test_service_document_of_a_new_device(twins):
    """No moduleId, no properties, only when it was created."""
    assert twins.document("press") == {
        "deviceId": "press",
        "etag": "AAAAAAAAAAE=",
        "version": 1,
        "tags": {},
        "properties": {
            "desired": {"$metadata": {"$lastUpdated": START}, "$version": 1},
            "reported": {"$metadata": {"$lastUpdated": START}, "$version": 1},
        },
    }


def test_service_document_belongs_to_the_caller(twins):
    """Changing it changes no twin."""
    twins.update_tags("press", {"a": {"b": 1}})
    twins.document("press")["tags"]["a"]["b"] = 2
    assert twins.document("press")["tags"] == {"a": {"b": 1}}


@pytest.mark.parametrize("section", ["desired", "reported", "tags"])
def test_twin_cannot_be_changed_from_outside(twins, section):
    """Neither through what was given nor through what was got, at any depth; a copy is free."""
    update = {"desired": twins.update_desired, "reported": twins.update_reported, "tags": twins.update_tags}[section]
    given = {"a": {"b": [1, {"c": 2}]}, "d": 1}
    told = []
    twins.subscribe(lambda _, patch, __: told.append(patch))
    update("press", given)
    given["a"]["b"][1]["c"] = 3
    document = getattr(twins.get("press"), section)
    deep = document["a"]["b"]
    attempts = [
        lambda: document.update(d=2),
        lambda: document.pop("d"),
        document.popitem,
        document.clear,
        lambda: document.setdefault("e", 1),
        lambda: document.__setitem__("d", 2),
        lambda: document.__delitem__("d"),
        lambda: document.__ior__({"d": 2}),
        lambda: document["a"].update(b=1),
        lambda: deep.append(1),
        lambda: deep.extend([1]),
        lambda: deep.insert(0, 1),
        deep.pop,
        lambda: deep.remove(1),
        deep.clear,
        deep.sort,
        deep.reverse,
        lambda: deep.__setitem__(0, 2),
        lambda: deep.__delitem__(0),
        lambda: deep.__iadd__([1]),
        lambda: deep.__imul__(2),
        lambda: deep[1].update(c=3),
        *(lambda patch=patch: patch.update(x=1) for patch in told),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="belongs to a twin"):
            attempt()
    assert document == {"a": {"b": [1, {"c": 2}]}, "d": 1}
    free = copy.deepcopy(document)
    free["a"]["b"][1]["c"] = 9
    assert type(free) is dict
    assert document["a"]["b"][1]["c"] == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        twins.get("press").version = 7


def test_twin_that_was_got_stays_as_it_was(twins):
    """A later change makes a new one."""
    twins.update_desired("press", {"a": {"b": 1}})
    before = twins.get("press")
    twins.update_desired("press", {"a": {"b": 2}})
    assert (before.desired, before.desired_version) == ({"a": {"b": 1}}, 2)


@pytest.mark.parametrize(("section", "most"), [("desired", 32_768), ("reported", 32_768), ("tags", 8_192)])
def test_section_beyond_its_size_is_refused(twins, section, most):
    """Counted in compact UTF-8 of the whole section after the change; nothing changes, nobody is told."""
    told = []
    twins.subscribe(lambda *change: told.append(change))
    update = {"desired": twins.update_desired, "reported": twins.update_reported, "tags": twins.update_tags}[section]
    chunk = {f"{number:02}": "ä" * 500 for number in range(most // 1_024)}
    room = most - len(json.dumps(chunk, separators=(",", ":"), ensure_ascii=False).encode()) - len(',"x":""')
    update("press", chunk)
    update("press", {"x": "y" * room})
    before, heard = twins.get("press"), len(told)
    with pytest.raises(TwinRefusedError, match=f"{section} of the twin would have {most + 1} bytes") as error:
        update("press", {"x": "y" * (room + 1)})
    assert error.value.status == 400
    assert twins.get("press") is before
    assert len(told) == heard
    update("press", {"00": None, "x": "y" * (room + 1)})


@pytest.mark.parametrize("section", ["desired", "reported", "tags"])
@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"a.b": 1}, "Property name a.b contains invalid character '.'"),
        ({"$version": 1}, "invalid character '$'"),
        ({"a": {"b c": 1}}, "invalid character ' '"),
        ({"n" * 1_025: 1}, "exceeds maximum length of 1024"),
        ({"a": "x" * 4_097}, "exceeds maximum length of 4096"),
        ({"a": 2**53}, "out of bound value"),
        ({"a": 10**30}, "no 64-bit integer"),
        ({"a": [None]}, "Arrays cannot contain 'null'"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": {}}}}}}}}}}}}, "Nested depth"),
        ({"a": float("nan")}, "must be a JSON object"),
        ({"a": {1, 2}}, "must be a JSON object"),
        ({"a": b"bytes"}, "must be a JSON object"),
        ({"a": "\ud800"}, "must be a JSON object"),
        ({("a", "b"): 1}, "must be a JSON object"),
        ([1], "must be a JSON object"),
        ("text", "must be a JSON object"),
        (7, "must be a JSON object"),
    ],
)
def test_document_that_no_twin_can_hold_is_refused(twins, section, patch, message):
    """TwinRefusedError with 400 and the reason, for all three sections; nothing changes."""
    update = {"desired": twins.update_desired, "reported": twins.update_reported, "tags": twins.update_tags}[section]
    update("press", {"a": 1})
    before = twins.get("press")
    with pytest.raises(TwinRefusedError) as error:
        update("press", patch)
    assert error.value.status == 400
    assert error.value.exit_code == 2
    assert message in error.value.message
    assert twins.get("press") is before


def test_document_that_contains_itself_is_refused(twins):
    """Instead of never ending."""
    circle = {}
    circle["a"] = circle
    with pytest.raises(TwinRefusedError, match="must be a JSON object"):
        twins.replace_desired("press", circle)


def test_any_mapping_will_do(twins):
    """A read-only view, another twin's document, a tuple as a list."""
    twins.update_desired("a", MappingProxyType({"x": (1, 2)}))
    twins.replace_desired("b", twins.get("a").desired)
    assert twins.get("b").desired == {"x": [1, 2]}


def test_removed_twin_starts_anew(twins):
    """Removing one that is not there is nothing."""
    twins.update_desired("press", {"a": 1})
    twins.remove("press")
    twins.remove("ghost")
    assert (twins.get("press").desired, twins.get("press").desired_version) == ({}, 1)


def test_observer_that_has_left_is_told_nothing(twins):
    """Leaving twice is nothing."""
    told = []
    leave = twins.subscribe(lambda *change: told.append(change))
    leave()
    leave()
    twins.update_desired("press", {"a": 1})
    assert told == []


def test_observer_that_fails_stops_nobody(twins, caplog):
    """The change counts, the others are told, the log says what happened."""
    told = []

    def failing(*_):
        raise RuntimeError("broken")

    twins.subscribe(failing)
    twins.subscribe(lambda *change: told.append(change))
    assert twins.update_desired("press", {"a": 1}) == 2
    assert len(told) == 1
    assert "an observer of twins failed" in caplog.text


def test_observer_may_change_the_twin_it_is_told_about(twins):
    """What follows has the next version."""
    told = []

    def echo(client_id, patch, version):
        told.append(version)
        if version < 4:
            twins.update_desired(client_id, {"seen": version})

    twins.subscribe(echo)
    twins.update_desired("press", {"a": 1})
    assert told == [2, 3, 4]
    assert twins.get("press").desired == {"a": 1, "seen": 3}


# -- changes as the REST API makes them --------------------------------------------------------------------------------


def test_update_changes_tags_and_desired_properties_together(twins):
    """One change of the twin: one new version and one new ETag; what is not mentioned stays."""
    told = []
    twins.subscribe(lambda *change: told.append(change))
    first = twins.update("press", tags={"hall": 4}, desired={"speed": 1})
    assert (first.tags, first.desired, first.version) == ({"hall": 4}, {"speed": 1}, 2)
    second = twins.update("press", tags={"row": 2, "hall": None})
    assert (second.tags, second.desired, second.desired_version) == ({"row": 2}, {"speed": 1}, 2)
    assert twins.update("press") is second
    assert twins.get("press") is second
    assert told == [("press", {"speed": 1}, 2)]


def test_update_anew_replaces_and_none_clears(twins):
    """Devices are told null for each property that is gone."""
    told = []
    twins.update("press", tags={"a": 1}, desired={"speed": 1, "mode": {"x": 1, "y": 2}})
    twins.subscribe(lambda _, patch, version: told.append((patch, version)))
    twin = twins.update("press", tags={"b": 2}, desired={"mode": {"y": 3}}, anew=True)
    assert (twin.tags, twin.desired) == ({"b": 2}, {"mode": {"y": 3}})
    twin = twins.update("press", tags=None, desired=None)
    assert (twin.tags, twin.desired) == ({}, {})
    assert told == [({"speed": None, "mode": {"x": None, "y": 3}}, 3), ({"mode": None}, 4)]


@pytest.mark.parametrize("condition", ["*", '"*"', "{}", '"{}"'])
def test_update_goes_through_while_its_etag_holds(twins, condition):
    """The wildcard, or the ETag that the twin has, with or without quotes; a device's changes leave the ETag alone."""
    etag = twins.update("press", tags={"a": 1}).etag
    twins.update_reported("press", {"speed": 1})
    assert twins.update("press", tags={"a": 2}, etag=condition.format(etag)).tags == {"a": 2}


def test_update_of_a_twin_that_has_changed_is_refused(twins):
    """412 PreconditionFailed; nothing changes and nobody is told."""
    etag = twins.get("press").etag
    now = twins.update("press", desired={"speed": 1})
    twins.subscribe(lambda *_: pytest.fail("nothing has changed"))
    with pytest.raises(TwinRefusedError) as error:
        twins.update("press", tags={"a": 1}, desired={"speed": 2}, etag=etag)
    assert (error.value.status, error.value.code) == (412, HubCode.PreconditionFailed)
    assert twins.get("press") is now


def test_update_that_is_half_wrong_changes_nothing(twins):
    """Good tags with desired properties that are none: 400 ArgumentInvalid, and the tags are as before."""
    before = twins.update("press", tags={"a": 1})
    with pytest.raises(TwinRefusedError) as error:
        twins.update("press", tags={"a": 2}, desired={"a.b": 1})
    assert (error.value.status, error.value.code) == (400, HubCode.ArgumentInvalid)
    assert twins.get("press") is before
