"""What topic filters mean, and what they match."""

import pytest

from gateway.hub.subscriptions import Feature, feature_of, granted_qos, matches


@pytest.mark.parametrize(
    ("topic_filter", "feature"),
    [
        ("devices/press/messages/devicebound/#", Feature.C2D),
        ("messages/devicebound/#", Feature.C2D),
        ("devices/press/modules/filter/messages/devicebound/#", Feature.C2D),
        ("$iothub/twin/res/#", Feature.TWIN_RESPONSE),
        ("$iothub/twin/PATCH/properties/desired/#", Feature.DESIRED),
        ("$iothub/methods/POST/#", Feature.METHODS),
        ("$iothub/methods/POST/reboot/#", Feature.METHODS),
        ("devices/press/modules/filter/#", Feature.INPUTS),
        ("devices/press/modules/filter/inputs/#", Feature.INPUTS),
        ("devices/press/messages/devicebound/", None),
        ("$iothub/twin/res/+", None),
        ("$iothub/twin/GET/#", None),
        ("devices/press/#", None),
        ("#", None),
    ],
)
def test_filter_stands_for_a_feature(topic_filter, feature):
    """By suffix, exactly, by prefix and by pattern, as the product's parser does it; anything else is nothing."""
    assert feature_of(topic_filter) is feature


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "ab", False),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/", True),
        ("a/+", "a/b/c", False),
        ("+/+", "a/b", True),
        ("+/b/#", "a/b/c/d", True),
        ("+/#", "a", True),
        ("#", "a/b", True),
        ("#", "$iothub/twin/res/200/?$rid=1", False),
        ("+/twin/#", "$iothub/twin/res/200/?$rid=1", False),
        ("$iothub/#", "$iothub/twin/res/200/?$rid=1", True),
    ],
)
def test_filter_matches_as_the_standard_says(topic_filter, topic, expected):
    """Wildcards, the parent of `/#`, and topics with `$` that no wildcard at the start reaches (4.7)."""
    assert matches(topic_filter, topic) is expected


def test_highest_granted_qos_counts():
    """Of several filters that match, the best one decides; none is None."""
    filters = {"a/#": 0, "a/+": 1, "b/#": 1}
    assert (granted_qos(filters, "a/b"), granted_qos(filters, "a/b/c"), granted_qos(filters, "c")) == (1, 0, None)
