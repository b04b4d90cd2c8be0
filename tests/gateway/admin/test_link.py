"""The link over HTTP: shown and switched."""

import pytest

from tests.gateway import packets as p

UP = {"state": "up", "latency": 1.0, "unauthorized": [], "reachable": True, "edge_hub": "connected"}


async def test_link_is_shown(web):
    """How it is, and what Edge Hub believes."""
    assert (await web.get("/link")).json() == UP


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"state": "black-hole"}, {"state": "black-hole", "reachable": False}),
        ({"state": "slow", "latency": 2.5}, {"state": "slow", "latency": 2.5}),
        ({"unauthorized": ["b", "a"]}, {"unauthorized": ["a", "b"]}),
        (
            {"state": "refused", "noticed": True},
            {"state": "refused", "reachable": False, "edge_hub": "disconnected"},
        ),
    ],
)
async def test_link_is_switched(hub, web, change, shown):
    """Only what is named changes; Edge Hub finds out by itself unless it is told."""
    answer = await web.put("/link", json=change)
    assert (answer.status_code, answer.json()) == (200, UP | shown)
    assert (await web.get("/link")).json() == UP | shown


async def test_leaf_notices_nothing_and_its_messages_wait(hub, web):
    """They arrive when the link is up again."""
    leaf = await hub.join()
    await web.put("/link", json={"state": "refused"})
    leaf.send(p.publish(body=b"1"))
    assert await leaf.packet() == p.puback()
    assert (await web.get("/link")).json()["edge_hub"] == "disconnected"
    assert list(hub.gateway.upstream.inbox.messages) == []
    await web.put("/link", json={"state": "up", "noticed": True})
    await hub.gateway.settled()
    assert [one.body for one in hub.gateway.upstream.inbox.messages] == [b"1"]


async def test_edge_hub_that_is_down_believes_nothing(hub, web):
    """The link is there all the same."""
    await hub.gateway.exit()
    assert (await web.put("/link", json={"state": "refused"})).json()["edge_hub"] is None
    await hub.gateway.boot()
    assert (await web.get("/link")).json() == UP | {"state": "refused", "reachable": False, "edge_hub": "disconnected"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "nothing is switched"),
        ({"noticed": True}, "nothing is switched"),
        ({"state": "sideways"}, "state: "),
        ({"latency": -1}, "latency: "),
        ({"unauthorized": [""]}, "unauthorized"),
        ({"colour": "red"}, "colour is not known here"),
    ],
)
async def test_change_that_is_wrong_changes_nothing(web, change, message):
    """400 with what is wrong."""
    answer = await web.put("/link", json=change)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert (await web.get("/link")).json() == UP
