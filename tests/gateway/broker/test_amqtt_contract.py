"""What the gateway relies on in amqtt, name by name, and what of amqtt it must never reach.

A new amqtt that moves a private name, or starts to do its own work on our connections, fails here and nowhere else.
"""

import asyncio
import importlib.metadata
import sys
from collections import OrderedDict

import amqtt.broker
import amqtt.session
import pytest
from amqtt.broker import Broker
from amqtt.events import BrokerEvents
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BasePlugin
from amqtt.session import Session
from transitions import Machine

from gateway.broker.sessions import Handler, LeafSession, Sessions
from gateway.events import ClientDisconnected
from gateway.hub.connect import Connect
from gateway.store.memory import MemoryStore
from tests.gateway import packets as p
from tests.gateway.client import descriptor_count


def connect(client_id="press", *, clean=False):
    """A judged CONNECT."""
    return Connect(client_id, "u", None, clean, 60, None)


class Wire:
    """A connection that remembers how it was ended."""

    def __init__(self):
        self.ended = []

    def close(self, reason):
        """Note why."""
        self.ended.append(reason)

    def displace(self):
        """Note it."""
        self.ended.append("displaced")


@pytest.fixture
async def broker():
    """amqtt's Broker, started the way the gateway starts it."""
    broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": {}})
    await broker.start()
    yield broker
    await broker.shutdown()


def test_amqtt_has_the_pinned_version():
    """Everything here was measured on 0.12.1."""
    assert importlib.metadata.version("amqtt") == "0.12.1"


# -- names relied on --------------------------------------------------------------------------------------------------


async def test_external_listener_opens_no_socket():
    """start() with one external listener takes two tasks of its own and no descriptor; shutdown() gives them back."""
    tasks, descriptors = asyncio.all_tasks(), descriptor_count()
    broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": {}})
    await broker.start()
    assert len(asyncio.all_tasks() - tasks) == 2
    assert descriptor_count() == descriptors
    await broker.shutdown()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


async def test_session_table_is_what_amqtt_shows(broker):
    """`_sessions` maps client id to (session, handler) and is behind the public `sessions`."""
    entry = (LeafSession("press"), Handler(LeafSession("press"), Wire()))
    assert broker._sessions == {}
    broker._sessions["press"] = entry
    assert broker.sessions["press"] is entry
    broker._sessions.clear()


async def test_subscription_table_is_what_amqtt_shows(broker):
    """`_subscriptions` maps a filter to (session, qos) pairs, and amqtt's own clean-up understands ours."""
    one, two = LeafSession("one"), LeafSession("two")
    broker._subscriptions["a/#"] = [(one, 1), (two, 0)]
    broker._subscriptions["b"] = [(one, 0)]
    assert broker.subscriptions is broker._subscriptions
    await broker._del_all_subscriptions(one)
    assert broker._subscriptions == {"a/#": [(two, 0)]}


async def test_tables_are_cleared_by_start():
    """A broker that starts forgets what was in its tables."""
    broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": {}})
    broker._sessions["x"] = (LeafSession("x"), None)
    broker._subscriptions["x"] = []
    await broker.start()
    assert (broker._sessions, broker._subscriptions) == ({}, {})
    await broker.shutdown()


async def test_handler_is_stopped_by_shutdown():
    """Shutting the broker down ends each session's connection through `Handler.stop`, and empties the tables."""
    sessions, wire = Sessions(MemoryStore()), Wire()
    await sessions.start()
    session, _, _ = sessions.open(connect(), wire, ("127.0.0.1", 1))
    sessions.subscribe(session, "a/#", 1)
    await sessions.stop()
    assert wire.ended == ["the gateway is stopping"]
    assert (sessions._broker._sessions, sessions._broker._subscriptions) == ({}, {})


async def test_session_monitor_understands_our_sessions(broker):
    """amqtt's own clean-up removes a disconnected clean session and nothing else: it reads state and flags of ours."""
    for name, clean, state in (("clean", True, "disconnect"), ("kept", False, "disconnect"), ("here", True, "connect")):
        session = LeafSession(name)
        session.clean_session = clean
        getattr(session.transitions, state)()
        broker._sessions[name] = (session, Handler(session, Wire()))
    monitor = asyncio.ensure_future(broker._session_monitor())
    for _ in range(5):
        await asyncio.sleep(0)
    monitor.cancel()
    assert sorted(broker._sessions) == ["here", "kept"]


def test_session_makes_the_queues_that_we_leave_out():
    """Session.__init__ sets the four names that LeafSession makes on demand, with these types."""
    plain, ours = Session(), LeafSession("press")
    for name, kind in (
        ("retained_messages", asyncio.Queue),
        ("delivered_message_queue", asyncio.Queue),
        ("inflight_out", OrderedDict),
        ("inflight_in", OrderedDict),
    ):
        assert type(plain.__dict__[name]) is kind
        assert name not in ours.__dict__
        assert type(getattr(ours, name)) is kind
        assert getattr(ours, name) is getattr(ours, name)
    with pytest.raises(AttributeError):
        _ = ours.no_such_name


def test_session_keeps_what_plugins_put_on_it():
    """`attributes` is amqtt's place for others' data; ours is under a name of its own."""
    assert Session().attributes == {}
    assert [*LeafSession("press").attributes] == ["leafgate.subscriptions"]


def test_session_state_comes_from_the_one_hook():
    """Session.__init__ asks `_init_states` for `transitions`, whose triggers call the two `_on_enter` methods."""
    assert isinstance(Session().transitions, Machine)
    session = LeafSession("press")
    assert not isinstance(session.transitions, Machine)
    assert (session.transitions.state, session.last_connect_time, session.last_disconnect_time) == ("new", None, None)
    session.transitions.connect()
    assert (session.transitions.state, session.transitions.is_connected()) == ("connected", True)
    assert session.last_connect_time is not None
    assert session.last_disconnect_time is None
    session.transitions.disconnect()
    assert session.transitions.state == "disconnected"
    assert session.last_disconnect_time is not None
    assert repr(session) == "LeafSession(clientId=press, state=disconnected)"


def test_session_state_goes_the_same_way_as_amqtts():
    """Our state object and amqtt's machine agree after the same triggers."""
    plain, ours = Session(), LeafSession("press")
    for trigger in ("connect", "disconnect", "disconnect", "connect"):
        getattr(plain.transitions, trigger)()
        getattr(ours.transitions, trigger)()
        assert plain.transitions.state == ours.transitions.state
        assert plain.transitions.is_connected() == ours.transitions.is_connected()


def test_session_queues_can_be_cleared():
    """amqtt clears a session's queues when it removes it."""
    LeafSession("press").clear_queues()


async def test_plugin_callbacks_are_listed_by_event():
    """`_event_plugin_callbacks` tells without a task whether anybody wants an event."""
    broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": {}})
    assert BrokerEvents.CLIENT_CONNECTED not in broker.plugins_manager._event_plugin_callbacks
    broker.plugins_manager._event_plugin_callbacks[BrokerEvents.CLIENT_CONNECTED].append(None)
    assert BrokerEvents.CLIENT_CONNECTED in broker.plugins_manager._event_plugin_callbacks


# -- plugin events ----------------------------------------------------------------------------------------------------


class Listening(BasePlugin):
    """A plugin of amqtt that notes the broker's events."""

    heard: list = []  # noqa: RUF012 - amqtt makes the object, the test reads the class


def listener(event, *facts):
    """A callback as amqtt wants it: a coroutine function that takes exactly this event's arguments."""

    async def heard(self, **given):
        session = given.get("client_session")
        Listening.heard.append((event, *(given[name] for name in facts if name in given)))
        if session is not None:
            Listening.heard.append((session.client_id, session.transitions.state))

    return heard


for name, facts in {
    "pre_start": (),
    "post_start": (),
    "pre_shutdown": (),
    "post_shutdown": (),
    "client_connected": ("client_id",),
    "client_disconnected": ("client_id",),
    "client_subscribed": ("client_id", "topic", "qos"),
    "client_unsubscribed": ("client_id", "topic"),
}.items():
    setattr(Listening, f"on_broker_{name}", listener(name, *facts))


async def test_plugin_hears_the_brokers_events(start, monkeypatch):
    """Gateway(amqtt_plugins=...): start, connect, subscribe, unsubscribe, disconnect and the end, in order."""
    # amqtt imports plugins by dotted name
    monkeypatch.setitem(sys.modules, "listening_plugin", sys.modules[__name__])
    Listening.heard.clear()
    hub = await start(amqtt_plugins={"listening_plugin.Listening": {}})
    client = await hub.join(clean=False)
    client.send(p.subscribe(("a", 2)), p.unsubscribe("a"))
    await client.packets(2)
    client.send(p.DISCONNECT)
    await client.eof()
    await hub.event(ClientDisconnected)
    await hub.gateway.stop()
    assert Listening.heard == [
        ("pre_start",),
        ("post_start",),
        ("client_connected", "press"),
        ("press", "connected"),
        ("client_subscribed", "press", "a", 1),
        ("client_unsubscribed", "press", "a"),
        ("client_disconnected", "press"),
        ("press", "disconnected"),
        ("pre_shutdown",),
        ("post_shutdown",),
    ]


# -- what must never be reached ---------------------------------------------------------------------------------------

NEVER = [
    (Broker, "_create_ssl_context"),
    (Broker, "_create_server_instance"),
    (Broker, "_client_connected"),
    (Broker, "_initialize_client_session"),
    (Broker, "_handle_client_session"),
    (Broker, "_handle_message_delivery"),
    (Broker, "_client_message_loop"),
    (Broker, "_authenticate"),
    (Broker, "add_subscription"),
    (Broker, "_broadcast_message"),
    (Broker, "_retain_broadcast_message"),
    (Broker, "_publish_session_retained_messages"),
    (Broker, "_publish_retained_messages_for_subscription"),
    (BrokerProtocolHandler, "__init__"),
    (BrokerProtocolHandler, "init_from_connect"),
    (BrokerProtocolHandler, "_reader_loop"),
    (BrokerProtocolHandler, "_handle_qos1_message_flow"),
    (BrokerProtocolHandler, "_retry_deliveries"),
    (BrokerProtocolHandler, "mqtt_publish"),
    (BrokerProtocolHandler, "handle_publish"),
    (BrokerProtocolHandler, "handle_read_timeout"),
    (BrokerProtocolHandler, "mqtt_connack_authorize"),
    (Session, "_init_states"),
]


@pytest.fixture
def reached(monkeypatch):
    """Whatever of amqtt's own data plane is reached; the names have to exist, or the list is out of date."""
    reached = []
    for owner, name in NEVER:
        assert hasattr(owner, name), f"amqtt has no {owner.__name__}.{name} any more"

        def forbidden(*_, name=f"{owner.__name__}.{name}", **__):
            reached.append(name)
            raise AssertionError(f"{name} was reached")

        monkeypatch.setattr(owner, name, forbidden)
    return reached


async def test_amqtts_own_data_plane_is_never_reached(reached, start):
    """Good, refused, malformed, taken over, timed out, retained, $iothub: all of it stays clear of amqtt's own code."""
    hub = await start()
    client = await hub.join(clean=False, keep_alive=10, will=("devices/press/messages/events/", b"w"))
    for packet in (
        p.subscribe(("#", 2), ("$iothub/twin/res/#", 0)),
        p.subscribe(("#", 0)),
        p.publish(),
        p.publish(retain=True, dup=True),
        p.publish("$iothub/twin/GET/?$rid=1"),
        p.publish("any/topic"),
        p.unsubscribe("#"),
        p.PINGREQ,
    ):
        client.send(packet)
        await client.packet()
    await client.packet()  # the twin's answer comes as a packet of its own
    stranger = await hub.dial()
    stranger.send(p.connect(password=b"bad"))
    await stranger.rest()
    malformed = await hub.join("malformed")
    malformed.send(b"\xff\xff\xff\xff\xff")
    await malformed.rest()
    second = await hub.join(clean=False, present=True)
    third = await hub.join(clean=True)
    for displaced in (client, second):
        await displaced.eof()
    third.send(p.publish(qos=2))
    await third.eof()
    await hub.join(keep_alive=1)
    hub.clock.elapse(100)
    await hub.event(ClientDisconnected, reason="Keep Alive timed out.")
    broker = hub.gateway._process.server.sessions._broker
    assert broker._broadcast_queue.empty()
    assert broker._retained_messages == {}
    await hub.gateway.stop()
    assert reached == []


async def test_connection_costs_no_task(hub):
    """amqtt makes eleven tasks per connection; ours makes none, idle, publishing or refused."""
    server = hub.gateway._process.server
    client = await hub.join("warm")
    before = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}, len(asyncio.all_tasks())
    clients = [await hub.join(f"d{number}") for number in range(50)]
    for each in clients:
        each.send(p.publish("any", b"x" * 1_000))
    for each in (client, *clients):
        each.send(p.PINGREQ)
    for each in clients:
        assert sorted(await each.packets(2)) == [p.puback(), p.PINGRESP]
    assert len(server.connections) == 51
    assert len(asyncio.all_tasks()) == before[1]
    assert {task.get_coro().__qualname__ for task in asyncio.all_tasks()} == before[0]


async def test_message_to_iothub_topics_leaves_no_zombie(hub):
    """Where stock amqtt's message loop died, everything goes on: PUBACK, SUBACK, telemetry, and the session ends."""
    client = await hub.join(clean=False)
    client.send(
        p.publish("$iothub/twin/GET/?$rid=1"), p.subscribe(("$iothub/twin/res/#", 1)), p.publish(packet_id=2), p.PINGREQ
    )
    twin = b'{"desired":{"$version":1},"reported":{"$version":1}}'
    answer = p.publish("$iothub/twin/res/200/?$rid=1", twin, packet_id=1)
    answers = await client.packets(5)
    assert sorted(answers) == sorted([p.puback(1), b"\x90\x03\0\1\1", p.puback(2), p.PINGRESP, answer])
    assert len(hub.gateway.upstream.inbox) == 1
    client.abort()
    await hub.event(ClientDisconnected)
    session, handler = hub.gateway._process.server.sessions._broker._sessions["press"]
    assert (session.transitions.state, handler.link) == ("disconnected", None)


async def test_session_of_a_new_connection_has_its_own_address(hub):
    """Stock amqtt kept the first connection's address and certificate on a resumed session."""
    first = await hub.join(clean=False)
    first.send(p.subscribe(("a", 0)))
    await first.packet()
    first.abort()
    await hub.event(ClientDisconnected)
    second = await hub.join(clean=False, present=True)
    session, _ = hub.gateway._process.server.sessions._broker._sessions["press"]
    assert f"{session.remote_address}:{session.remote_port}" == second.peer
    assert session.ssl_object is None


def test_global_names_of_amqtt_are_left_alone():
    """Nothing of amqtt is replaced: other users of it in the same process see the stock library."""
    assert amqtt.broker.BrokerProtocolHandler is BrokerProtocolHandler
    assert amqtt.session.Session is Session
    assert amqtt.broker.Broker.__module__ == "amqtt.broker"


def test_what_new_sessions_share_is_plain():
    """They start with copies of the same values, so none of those may be a container; amqtt's own has no others."""
    from amqtt.session import Session

    from gateway.broker.sessions import LeafSession

    stock, ours = vars(Session()), LeafSession("press")
    assert set(stock) <= set(vars(ours)) | {
        "inflight_in",
        "inflight_out",
        "retained_messages",
        "delivered_message_queue",
    }
    shared = {name: value for name, value in stock.items() if name in vars(ours)} | {"attributes": None}
    del shared["transitions"]
    assert {type(value) for value in shared.values()} <= {type(None), bool, int}
    assert ours.attributes is not LeafSession("mill").attributes
