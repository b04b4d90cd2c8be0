"""Queries over the twins of a hub, in pages."""

import pytest

from gateway import ManualClock
from gateway.errors import ServiceError
from gateway.upstream.device import Device
from tests.gateway.upstream.hubs import make_hub

FLEET = [f"press-{number:03d}" for number in range(1, 251)]


@pytest.fixture
def fleet():
    """A hub with an edge device and 250 more, registered in no order, a third of them in Munich."""
    hub, below = make_hub(ManualClock(1_700_000_000.0), devices=reversed(FLEET))
    for number, device_id in enumerate(FLEET):
        hub.twins.update_tags(device_id, {"site": "munich" if number % 3 == 0 else "graz", "number": number})
    return hub, below


def everything(queries, text, **options):
    """All items of a query, page by page, and how many each page has."""
    items, sizes, token = [], [], None
    while token or not sizes:
        page = queries.page(text, continuation=token, **options)
        items += page.items
        sizes.append(len(page.items))
        token = page.continuation
    return items, sizes


def ids(items):
    """Their device ids."""
    return [item["deviceId"] for item in items]


def test_pages_continue_in_the_order_of_ids(fleet):
    """A page has 100 items at most; the last one has no token."""
    queries = fleet[0].management.queries
    items, sizes = everything(queries, "SELECT * FROM devices")
    assert ids(items) == ["gw", *FLEET]
    assert sizes == [100, 100, 51]
    assert queries.page("SELECT * FROM devices").item_type == "Twin"


def test_page_size_is_the_callers_up_to_the_hubs(fleet):
    """Smaller pages as asked for, larger ones are not given."""
    queries = fleet[0].management.queries
    items, sizes = everything(queries, "SELECT deviceId FROM devices WHERE tags.site = 'munich'", max_items=40)
    assert (ids(items), sizes) == (FLEET[::3], [40, 40, 4])
    assert len(queries.page("SELECT * FROM devices", max_items=1_000).items) == 100


def test_exactly_full_page_is_the_last(fleet):
    """No token leads to an empty page."""
    queries = fleet[0].management.queries
    assert everything(queries, "SELECT * FROM devices WHERE tags.number < 200")[1] == [100, 100]


def test_top_bounds_all_pages_together(fleet):
    """TOP counts over the pages."""
    queries = fleet[0].management.queries
    items, sizes = everything(queries, "SELECT TOP 130 deviceId FROM devices WHERE tags.number >= 0", max_items=60)
    assert (ids(items), sizes) == (FLEET[:130], [60, 60, 10])
    assert everything(queries, "SELECT TOP 60 deviceId FROM devices", max_items=60)[1] == [60]


def test_what_comes_and_goes_does_not_shift_pages(fleet):
    """Nothing is told twice or left out because something before it is deleted or registered."""
    hub, _ = fleet
    first = hub.management.queries.page("SELECT deviceId FROM devices", max_items=10)
    hub.remove("press-002")
    hub.registry.add(Device("press-0005"))
    hub.remove(first.items[-1]["deviceId"])
    second = hub.management.queries.page("SELECT deviceId FROM devices", max_items=10, continuation=first.continuation)
    assert ids(first.items)[-1] == "press-009"
    assert ids(second.items)[0] == "press-010"


def test_token_is_good_for_its_own_query_alone(fleet):
    """Another query's token, a changed one and an invented one are refused; so is one from before a restart."""
    queries = fleet[0].management.queries
    text = "SELECT * FROM devices"
    token = queries.page(text).continuation
    assert token is not None
    changed = ("A" if token[30] != "A" else "B").join((token[:30], token[31:]))
    for asked, given in [
        ("SELECT * FROM devices WHERE true", token),
        (text, changed),
        (text, token[:-4]),
        (text, "next"),
        (text, "\u00e4"),
        (text, make_hub(ManualClock(0.0), devices=FLEET)[0].management.queries.page(text).continuation),
    ]:
        with pytest.raises(ServiceError) as refused:
            queries.page(asked, continuation=given)
        assert (refused.value.status, refused.value.code) == (400, "ArgumentInvalid")
    assert token.isascii()
    assert token.isprintable()
    assert "press" not in token


def test_projection_leaves_out_what_is_not_there(fleet):
    """A row has what its document has; rows are told to be raw."""
    page = fleet[0].management.queries.page("SELECT deviceId, tags.site AS place FROM devices", max_items=2)
    assert (page.items, page.item_type) == ([{"deviceId": "gw"}, {"deviceId": "press-001", "place": "munich"}], "Raw")


def test_groups_and_aggregates(fleet):
    """COUNT, AVG, SUM, MIN and MAX of a property for each value of another; no value is a group, too."""
    page = fleet[0].management.queries.page(
        "SELECT tags.site AS site, COUNT() AS n, AVG(tags.number) AS mean, SUM(tags.number) AS total, "
        "MIN(tags.number) AS least, MAX(tags.number) AS most FROM devices GROUP BY tags.site"
    )
    munich, graz = range(0, 250, 3), [number for number in range(250) if number % 3]
    assert page.item_type == "Raw"
    assert page.items == [
        {"n": 1},
        {"site": "munich", "n": 84, "mean": 124.5, "total": sum(munich), "least": 0, "most": 249},
        {"site": "graz", "n": 166, "mean": sum(graz) / 166, "total": sum(graz), "least": 1, "most": 248},
    ]


def test_groups_come_in_pages_as_well(fleet):
    """Each number is a group of its own."""
    text = "SELECT tags.number AS n, COUNT() AS k FROM devices WHERE tags.number >= 0 GROUP BY tags.number"
    items, sizes = everything(fleet[0].management.queries, text)
    assert ([item["n"] for item in items], sizes) == (list(range(250)), [100, 100, 50])


def test_aggregate_of_nothing(fleet):
    """There is one row, which counts 0 and has no mean; texts have a least one."""
    queries = fleet[0].management.queries
    text = "SELECT COUNT() AS n, AVG(tags.number) AS mean FROM devices WHERE tags.site = 'linz'"
    assert queries.page(text).items == [{"n": 0}]
    assert queries.page("SELECT MIN(deviceId) AS first FROM devices").items == [{"first": "gw"}]
    assert queries.page("SELECT COUNT() as totalNumberOfDevices FROM devices").items == [{"totalNumberOfDevices": 251}]


def test_twin_documents_have_what_the_hub_knows(fleet):
    """Identity, connection, messages that wait; properties with metadata."""
    hub, below = fleet
    below.connected.add("press-001")
    hub.commands.send("press-001", b"x")
    hub.twins.update_reported("press-001", {"speed": 3})
    (found,) = hub.management.queries.page("SELECT * FROM devices WHERE connectionState = 'Connected'").items
    device, moment = hub.registry.get("press-001"), "2023-11-14T22:13:20.000000Z"
    gateway = hub.registry.service_identity("gw")
    assert device is not None
    assert gateway is not None
    reported = {"speed": 3, "$metadata": {"$lastUpdated": moment, "speed": {"$lastUpdated": moment}}, "$version": 2}
    assert found == {
        "deviceId": "press-001",
        "etag": "AAAAAAAAAAI=",
        "deviceEtag": device.etag,
        "status": "enabled",
        "statusUpdateTime": "0001-01-01T00:00:00Z",
        "connectionState": "Connected",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "cloudToDeviceMessageCount": 1,
        "authenticationType": "sas",
        "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
        "modelId": "",
        "version": 3,
        "tags": {"site": "munich", "number": 0},
        "properties": {
            "desired": {"$metadata": {"$lastUpdated": moment}, "$version": 1},
            "reported": reported,
        },
        "capabilities": {"iotEdge": False},
        "deviceScope": gateway.scope,
        "parentScopes": [gateway.scope],
    }


def test_nobody_is_connected_while_the_link_is_down(fleet):
    """The hub knows of connections only through the gateway."""
    hub, below = fleet
    below.connected.add("press-001")
    hub.online = False
    assert hub.management.queries.page("SELECT * FROM devices WHERE connectionState = 'Connected'").items == []


def test_children_of_an_edge_device_as_azure_cli_asks_for_them(fleet):
    """`az iot hub device-identity children list` asks with ARRAY_CONTAINS."""
    hub, _ = fleet
    scope = hub.registry.service_identity("gw").scope
    text = f"select deviceId from devices where array_contains(parentScopes, '{scope}')"
    assert ids(everything(hub.management.queries, text)[0]) == FLEET


def test_modules_are_a_collection_of_their_own(fleet):
    """Their documents name module and device; $metadata can be asked for."""
    hub, _ = fleet
    hub.registry.add(Device("press-001", "camera"))
    hub.twins.update_reported("press-001/camera", {"status": "scanning"})
    queries = hub.management.queries
    text = "Select * from devices.modules where properties.reported.status = 'scanning' and deviceId IN ['press-001']"
    page = queries.page(text)
    assert [(item["deviceId"], item["moduleId"]) for item in page.items] == [("press-001", "camera")]
    assert (page.item_type, "capabilities" in page.items[0]) == ("Twin", False)
    late = "SELECT moduleId FROM devices.modules WHERE properties.reported.$metadata.status.$lastUpdated > '2023-11-01'"
    assert queries.page(late).items == [{"moduleId": "camera"}]
    assert queries.page("SELECT COUNT() AS n FROM devices.modules").items == [{"n": 2}]
