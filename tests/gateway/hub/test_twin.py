"""The rules of twin documents."""

import copy
import json
import random
import sys

import pytest

from gateway.hub.twin import (
    TwinError,
    diff,
    merge,
    read_patch,
    strict_error_body,
    validate_reported,
)

NAMES = ["a", "b", "speed", "ä", "温", "", "longer-name"]


def value(source, depth):
    """A random JSON value without null."""
    kind = source.randrange(8 if depth else 6)
    if kind < 6:
        return [True, 0, 1, 1.0, -1.5, "text", "", "1", False, 2**52 - 1][source.randrange(10)]
    if kind == 6:
        return [value(source, depth - 1) for _ in range(source.randrange(4))]
    return document(source, depth - 1)


def document(source, depth=4):
    """A random twin document, as `seed` decides."""
    return {name: value(source, depth) for name in source.sample(NAMES, source.randrange(5))}


def exact(one):
    """A document in text: Python takes 1, 1.0 and true for equal, text does not."""
    return json.dumps(one, sort_keys=True)


@pytest.mark.parametrize("seed", range(300))
def test_merging_the_difference_gives_the_new_document(seed):
    """merge(old, diff(old, new)) is new, for any two documents; neither is changed, equal ones differ by nothing."""
    source = random.Random(seed)
    old, new = document(source), document(source)
    before = copy.deepcopy((old, new))
    patch = diff(old, new)
    assert exact(merge(old, patch)) == exact(new)
    assert exact(diff(new, copy.deepcopy(new))) == "{}"
    assert exact((old, new)) == exact(before)


@pytest.mark.parametrize("seed", range(300))
def test_merging_twice_changes_nothing_more(seed):
    """A patch with nulls is idempotent, and once it is applied nothing differs from it but its nulls."""
    source = random.Random(seed)
    base, patch = document(source), document(source)
    patch |= dict.fromkeys(source.sample(NAMES, 2))
    once = merge(base, patch)
    assert exact(merge(once, patch)) == exact(once)
    assert not any(name in once for name, given in patch.items() if given is None)


@pytest.mark.parametrize("seed", range(200))
def test_patches_collected_with_nulls_do_what_they_would_one_by_one(seed):
    """What the hub holds back for the cloud: merged with null_deletes=False, it equals the patches in a row."""
    source = random.Random(seed)
    start, collected = document(source, 0), {}
    one_by_one = start
    for _ in range(4):
        patch = document(source, 0) | dict.fromkeys(source.sample(NAMES, 2))
        one_by_one = merge(one_by_one, patch)
        collected = merge(collected, patch, null_deletes=False)
    assert exact(merge(start, collected)) == exact(one_by_one)


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": None}, {}),
        ({"a": 1}, {"b": None}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": 1, "A": 2}, {"a": 3}, {"a": 3, "A": 2}),
        ({}, {"a": {"b": None}}, {"a": {"b": None}}),
        ({"a": 5}, {"a": {"b": None}}, {"a": {"b": None}}),
    ],
)
def test_merge_goes_by_the_products_rules(document, patch, result):
    """Objects merge, the rest replaces, null deletes; an object that meets none comes with its nulls."""
    assert exact(merge(document, patch)) == exact(result)


def test_merge_keeps_nulls_that_have_to_be_passed_on():
    """Reported changes that wait for the cloud must still delete there."""
    assert merge({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"c": None}}, null_deletes=False) == {
        "a": None,
        "b": {"c": None},
    }


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1.0}, {"a": 1.0}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": [1]}, {"a": [True]}, {"a": [True]}),
        ({"a": [{"b": 0}]}, {"a": [{"b": False}]}, {"a": [{"b": False}]}),
        ({"a": [{"b": 0, "c": 1}]}, {"a": [{"c": 1, "b": 0}]}, {}),
        ({"a": {"b": 1}}, {}, {"a": None}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {}}, {"a": {}}),
    ],
)
def test_difference_counts_types(old, new, patch):
    """1, 1.0 and true are three values; the order of names is none."""
    assert exact(diff(old, new)) == exact(patch)


# -- reading


def test_patch_is_read():
    """Any JSON object, also with blanks around it and characters of any kind inside."""
    assert read_patch(b' {"a": {"b": [1, 2.5, "\xc3\xa4", true]}, "c": null}\n') == {
        "a": {"b": [1, 2.5, "ä", True]},
        "c": None,
    }


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t ", b"[]", b"1", b'"a"', b"null", b"true", b"[{}]"])
def test_body_that_is_no_object_is_refused(body, strict):
    """With 400, as an argument that is not there."""
    with pytest.raises(TwinError) as error:
        read_patch(body, strict=strict)
    assert (error.value.status, error.value.code) == (400, 400_000)


DAMAGED = [
    b"{",
    b"}",
    b"{a:1}",
    b'{"a":}',
    b'{"a":1}x',
    b'{"a":1}{}',
    b'{"a":01}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":-1e400}',
    b'{"a":' + b"9" * 5_000 + b"}",
    b"\xef\xbb\xbf{}",
    b'{\x00"a":1}',
    "{}".encode("utf-16"),
    b"\x1f\x8b\x08",
]


@pytest.mark.parametrize("body", DAMAGED)
def test_body_that_is_no_json_is_refused(body):
    """With 500, since the product's reader fails before its validator; with 400 where IoT Hub is meant."""
    with pytest.raises(TwinError) as error:
        read_patch(body)
    assert (error.value.status, error.value.code) == (500, 500_001)
    with pytest.raises(TwinError) as error:
        read_patch(body, strict=True)
    assert (error.value.status, error.value.code) == (400, 400_012)
    assert len(error.value.message) < 200


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("depth", [64, 500, 990, 2_000, 100_000])
def test_depth_bomb_is_refused_quickly(opening, closing, depth):
    """Brackets upon brackets: TwinError, never RecursionError, also when Python's limit is far away, and at once."""
    bodies = [b'{"x":' + opening * depth + b"1" + closing * depth + b"}", b'{"x":' + opening * depth]
    limit = sys.getrecursionlimit()
    try:
        for allowed in (limit, 5_000):
            sys.setrecursionlimit(allowed)
            for body in bodies:
                with pytest.raises(TwinError) as error:
                    read_patch(body)
                assert error.value.status == 500
    finally:
        sys.setrecursionlimit(limit)


def test_depth_that_the_reader_takes_is_left_to_the_validator():
    """64 levels are read and then refused as nested too deeply, which is 400."""
    body = b'{"b":[],"a":' + b'{"a":' * 63 + b"1" + b"}" * 64
    with pytest.raises(TwinError, match="Nested depth") as error:
        validate_reported(read_patch(body))
    assert error.value.status == 400


def test_wide_document_is_no_deep_one():
    """Thousands of small objects beside each other are read."""
    body = json.dumps({str(number): {} for number in range(3_000)}).encode()
    assert len(read_patch(body)) == 3_000


def test_name_given_twice_has_its_last_value():
    """As the product reads it; IoT Hub's strictness refuses it, at any depth."""
    body = b'{"a":{"b":1,"b":2}}'
    assert read_patch(body) == {"a": {"b": 2}}
    with pytest.raises(TwinError, match="given twice") as error:
        read_patch(body, strict=True)
    assert error.value.status == 400


def test_bytes_that_are_no_utf8_become_replacement_characters():
    """As the product decodes them; strictness refuses them."""
    assert read_patch(b'{"a":"\xff"}') == {"a": "\N{REPLACEMENT CHARACTER}"}
    with pytest.raises(TwinError, match="cannot be read"):
        read_patch(b'{"a":"\xff"}', strict=True)


def test_half_characters_become_replacement_characters():
    """An escape of half a surrogate pair, in a name or a value; whole pairs are characters."""
    patch = read_patch(rb'{"\ud800":"\udc00x\ud83d\ude00"}')
    assert patch == {"\N{REPLACEMENT CHARACTER}": "\N{REPLACEMENT CHARACTER}x😀"}
    validate_reported(patch)


# -- checking


def refused(patch):
    """Status, code and message of the refusal of a patch."""
    with pytest.raises(TwinError) as error:
        validate_reported(patch)
    return error.value.status, error.value.code, error.value.message


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"": 1},
        {"a": None, "b": {"c": None}},
        {"a" * 1_024: 1},
        {"ä" * 512: 1},
        {"a": "x" * 4_096},
        {"a": "ä" * 2_048},
        {"a": "\x00 \n.$#"},
        {"a": 2**52 - 1, "b": -(2**52)},
        {"a": 1e300, "b": True, "c": [1, [2, [3]], {"d": "e"}]},
        {"a-b_c:d/e\\f'\"g": 1, "ﬁ": 1},
    ],
)
def test_patch_within_the_limits_passes(patch):
    """Limits are inclusive and count bytes."""
    validate_reported(patch)


@pytest.mark.parametrize(
    "letter", ["\0", "\t", "\n", "\x1f", " ", ".", "$", "#", "\x7f", "\x9f", "\xa0", "\u2003", "\u3000"]
)
@pytest.mark.parametrize("place", ["top", "nested", "array"])
def test_forbidden_character_in_a_name_is_refused(letter, place):
    """Control characters, blanks of all kinds and the service's own characters; the message is one printable line."""
    inner = {f"na{letter}me": 1}
    status, code, message = refused({"top": inner, "nested": {"x": inner}, "array": {"x": [[inner]]}}[place])
    assert (status, code) == (400, 400_004)
    assert message.startswith("Property name na")
    assert "contains invalid character" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"a" * 1_025: 1}, "Length of property name aaaaaaaaaa.. exceeds maximum length of 1024"),
        ({"ä" * 513: 1}, "Length of property name ääääääääää.. exceeds maximum length of 1024"),
        ({"a": "x" * 4_097}, "associated with property name a has length 4097 that exceeds maximum length of 4096"),
        ({"a": {"b": "ä" * 2_049}}, "property name b has length 4098"),
        ({"a": ["x" * 4_097]}, "has length 4097"),
        ({"a": 2**52}, "Property a has an out of bound value. Valid values are between -4503599627370496 and"),
        ({"a": -(2**52) - 1}, "out of bound value"),
        ({"a": [2**52]}, "out of bound value"),
        ({"a": [None]}, "Arrays cannot contain 'null' as value"),
        ({"a": [[None]]}, "Arrays cannot contain 'null' as value"),
        ({"a": [{"b": None}]}, "Property b of an object in an array cannot be 'null'"),
        ({"a": [{"b": {"c": None}}]}, "Property c of an object in an array cannot be 'null'"),
    ],
)  # fmt: skip
def test_patch_beyond_a_limit_is_refused(patch, message):
    """With 400 and the product's words."""
    status, code, said = refused(patch)
    assert (status, code) == (400, 400_004)
    assert message in said


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**300])
def test_integer_of_more_than_64_bits_fails_as_in_the_product(number):
    """Its cast overflows, which is no objection of the validator: 500."""
    assert refused({"a": number})[:2] == (500, 500_001)
    assert refused({"a": 2**63 - 1})[:2] == (400, 400_004)


def nested(depth, kind):
    """A document with `depth` containers of one kind inside each other, below the root."""
    inner = 1
    for level in range(depth):
        inner = {"object": {"k": inner}, "array": [inner], "mixed": [inner] if level % 2 else {"k": inner}}[kind]
    return {"root": inner}


@pytest.mark.parametrize("kind", ["object", "array", "mixed"])
def test_ten_levels_below_the_root_pass_and_eleven_do_not(kind):
    """Objects and arrays count alike."""
    validate_reported(nested(10, kind))
    assert refused(nested(11, kind)) == (400, 400_004, "Nested depth of twin property exceeds 10")


def test_document_of_32_kilobytes_passes_and_one_byte_more_does_not():
    """Counted as compact UTF-8, however it was sent."""
    filler = {f"{number:03}": "ä" * 500 for number in range(32)}
    room = 32_768 - len(json.dumps(filler, separators=(",", ":"), ensure_ascii=False).encode())
    validate_reported(filler | {"x": "y" * (room - len(',"x":""'))})
    message = refused(filler | {"x": "y" * (room - len(',"x":""') + 1)})[2]
    assert message == "Twin properties size 32769 exceeds maximum 32768"
    validate_reported(read_patch(b'{"a":\n' + b" " * 100_000 + b"1}"))


# -- errors


def test_error_body_is_what_iot_hub_writes():
    """The Node SDK wants errorCode and message; each has a tracking id of its own and the hub's time."""
    error = TwinError(400, 400_004, 'no "good"')
    first, second = (json.loads(strict_error_body(error, 1_700_000_000.25)) for _ in range(2))
    assert first["errorCode"] == 400_004
    assert first["message"] == 'no "good"'
    assert first["timestampUtc"] == "2023-11-14T22:13:20.250000Z"
    assert first["trackingId"].endswith("-G:0-TimeStamp:11/14/2023 22:13:20")
    assert first["trackingId"] != second["trackingId"]


def test_error_carries_its_data():
    """Status for the device, code for the body, words for the log."""
    error = TwinError(500, 500_001, "why")
    assert (error.status, error.code, error.message, str(error)) == (500, 500_001, "why", "why")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 250_000,
        b'{"a":[' + b"{}," * 80_000 + b"1]}",
        b"{" + b",".join(b'"%d":1' % number for number in range(25_000)) + b"}",
        b'{"a":"' + b"\\ud800" * 40_000 + b'"}',
        b'{"' + b"." * 250_000 + b'":1}',
        b'{"a":' + b"9" * 250_000 + b"}",
    ],
    ids=["brackets", "objects", "names", "escapes", "long name", "digits"],
)
def test_largest_hostile_document_is_refused_with_a_short_message(body):
    """A quarter of a megabyte, as much as a packet holds; the log gets a line, not the document."""
    with pytest.raises(TwinError) as error:
        validate_reported(read_patch(body))
    assert len(error.value.message) < 200
