"""The grammar of the CONNECT user name."""

import pytest

from gateway.hub.identity import Identity, UsernameError, parse_username


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        ("hub/dev/?api-version=2021-04-12", Identity("hub", "dev", None, "2021-04-12")),
        ("hub/dev/mod/?api-version=1", Identity("hub", "dev", "mod", "1")),
        ("hub/dev/api-version=1", Identity("hub", "dev", None, "1")),
        ("hub/dev/x=y&api-version=1", Identity("hub", "dev", None, "1")),
        ("any.name:at-all/dev/?api-version=1", Identity("any.name:at-all", "dev", None, "1")),
        ("hub/dev/?api-version=not%20a%20version", Identity("hub", "dev", None, "not a version")),
        ("hub/dev/?api-version=1&unknown=2&bare", Identity("hub", "dev", None, "1")),
        ("hub/d%65v/?api-version=1", Identity("hub", "d%65v", None, "1")),
        (
            "hub/dev/?api-version=1&DeviceClientType=py%2Fx%3D1&model-id=dtmi%3Aa%3B1",
            Identity("hub", "dev", None, "1", "py/x=1", "dtmi:a;1"),
        ),
        (
            "hub/leaf/?api-version=1&auth-chain=leaf%3Bedge2%3Bedge1",
            Identity("hub", "leaf", None, "1", auth_chain="leaf;edge2;edge1"),
        ),
        ("hub/leaf/?api-version=1&auth-chain=%20", Identity("hub", "leaf", None, "1")),
        ("hub/dev/?api-version=1&deviceclienttype=x&Model-Id=y", Identity("hub", "dev", None, "1")),
    ],
)
def test_username_is_read(username, expected):
    """Hub, device, module and the query's known keys are found; the hub is not checked, ids are not unescaped."""
    assert parse_username(username) == expected


def test_username_without_slash_before_the_query_names_the_device():
    """`hub/dev/mod?&api-version=..` has three segments, so it is the device `dev` with junk in its query."""
    identity = parse_username("hub/dev/mod?&api-version=1")
    assert (identity.device_id, identity.module_id, identity.client_id) == ("dev", None, "dev")


def test_client_id_of_a_module_has_both_names():
    """A module connects as device/module."""
    assert parse_username("hub/dev/mod/?api-version=1").client_id == "dev/mod"


@pytest.mark.parametrize(
    ("username", "reason"),
    [
        ("", "1 segments"),
        ("hub/dev", "2 segments"),
        ("hub/dev?api-version=1", "2 segments"),
        ("hub/dev/mod/more/?api-version=1", "5 segments"),
        ("hub/dev/mod", "no query"),
        ("hub/dev/Api-Version=1", "no query"),
        ("hub/dev/?", "api-version is missing"),
        ("hub/dev/?api-version=", "api-version is missing"),
        ("hub/dev/?api-version=%20", "api-version is missing"),
        ("hub/dev/?Api-Version=1", "api-version is missing"),
        ("hub/dev/?x-api-version=1", "api-version is missing"),
        ("hub//?api-version=1", "empty"),
        ("hub/ /?api-version=1", "empty"),
        ("hub/dev//?api-version=1", "empty"),
    ],
)
def test_username_that_cannot_be_read_says_why(username, reason):
    """Too few or many segments, no query, no api-version, a blank name: each is an error with its reason."""
    with pytest.raises(UsernameError, match=reason):
        parse_username(username)
