"""Sessions and subscriptions, kept in amqtt's Broker.

amqtt gives its life cycle, its session and subscription tables and its plugin events. Connections are ours: the broker
runs with one `external` listener, so that its own readers, writers, handlers and per-message tasks are never made.

Rule: every private name of amqtt that the project relies on is used in this module, and each has a contract test.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

from amqtt.broker import Broker
from amqtt.events import BrokerEvents
from amqtt.session import Session

from gateway.hub.connect import Connect
from gateway.store import Store

_LAZY_QUEUES = ("retained_messages", "delivered_message_queue")
_LAZY_TABLES = ("inflight_out", "inflight_in")
_SUBSCRIPTIONS = "leafgate.subscriptions"
_MOST_SUBSCRIPTIONS = 1_000  # a device needs five


class Link(Protocol):
    """The connection that a session is bound to."""

    def close(self, reason: str) -> None:
        """End the connection."""

    def displace(self) -> None:
        """End the connection because another one has its client id now."""


class _State:
    """The session's state, without the `transitions.Machine` that takes amqtt a quarter of a millisecond to build."""

    __slots__ = ("_session", "state")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.state = "new"

    def connect(self) -> None:
        self.state = "connected"
        self._session._on_enter_connected()

    def disconnect(self) -> None:
        self.state = "disconnected"
        self._session._on_enter_disconnected()

    def is_connected(self) -> bool:
        return self.state == "connected"


class _Stateless(Session):  # type: ignore[misc]  # amqtt is not typed for us
    """A session as amqtt makes it, but for the state machine."""

    def _init_states(self) -> None:
        """Leave that to LeafSession."""


_OWN = ("attributes", *_LAZY_QUEUES, *_LAZY_TABLES)
#: what every new session starts with: its plain values, which cost more to set one by one than all the rest
_FRESH = {name: value for name, value in vars(_Stateless()).items() if name not in _OWN}


class LeafSession(Session):  # type: ignore[misc]  # amqtt is not typed for us
    """A session whose queues come into being when somebody asks for them: most leaves never do."""

    def __init__(self, client_id: str) -> None:
        self.__dict__.update(_FRESH)
        self.transitions = _State(self)
        self.attributes: dict[str, Any] = {}
        self.client_id = client_id
        self.kept = False  # it has had subscriptions that outlive its connection, and is in the store
        self.attributes[_SUBSCRIPTIONS] = {}

    def __getattr__(self, name: str) -> Any:
        if name in _LAZY_QUEUES:
            made: Any = asyncio.Queue()
        elif name in _LAZY_TABLES:
            made = OrderedDict()
        else:
            raise AttributeError(name)
        self.__dict__[name] = made
        return made

    @property
    def subscriptions(self) -> Mapping[str, int]:
        """Topic filters with the QoS granted."""
        filters: dict[str, int] = self.attributes[_SUBSCRIPTIONS]
        return filters


class Handler:
    """What amqtt's tables expect beside a session: the way to stop its connection."""

    __slots__ = ("link", "session")

    def __init__(self, session: LeafSession, link: Link | None) -> None:
        self.session = session
        self.link = link

    async def stop(self) -> None:
        """End the connection; amqtt calls this when the broker shuts down or a session expires."""
        link, self.link = self.link, None
        if link is not None:
            link.close("the gateway is stopping")


class Sessions:
    """The broker's tables as the front end uses them."""

    def __init__(self, store: Store, plugins: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": dict(plugins or {})})
        self._firing: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Start the broker, which opens no socket, with the sessions of the store. Raises StoreError."""
        await self._broker.start()
        for client_id, subscriptions in self._store.sessions().items():
            self._restore(client_id, subscriptions)

    def _restore(self, client_id: str, subscriptions: Mapping[str, int]) -> None:
        session = LeafSession(client_id)
        session.clean_session = False
        session.kept = True
        self._broker._sessions[client_id] = (session, Handler(session, None))
        for topic_filter, qos in subscriptions.items():
            self._add(session, topic_filter, qos)

    async def stop(self) -> None:
        """Stop the broker; every session's connection is closed."""
        await self._broker.shutdown()

    def open(self, connect: Connect, link: Link, peer: tuple[str, int]) -> tuple[LeafSession, bool, Link | None]:
        """Bind an accepted CONNECT to its session.

        Returns the session, whether it was there before (session present) and the connection that had it until now.
        """
        table = self._broker._sessions
        session, handler = table.get(connect.client_id, (None, None))
        previous = handler.link if handler is not None else None
        present = session is not None and session.kept and not connect.clean_session
        if not present:
            if session is not None:
                self._drop(session)
            session = LeafSession(connect.client_id)
        session.clean_session = connect.clean_session
        session.keep_alive = connect.keep_alive
        session.username = connect.username
        session.remote_address, session.remote_port = peer
        session.transitions.connect()
        table[connect.client_id] = (session, Handler(session, link))
        self._fire(BrokerEvents.CLIENT_CONNECTED, client_id=connect.client_id, client_session=session)
        return session, present, previous

    def close(self, session: LeafSession, link: Link) -> None:
        """Release a session whose connection is gone, unless another connection has taken it over."""
        _, handler = self._broker._sessions.get(session.client_id, (None, None))
        if handler is None or handler.session is not session or handler.link is not link:
            return
        handler.link = None
        session.transitions.disconnect()
        if not session.kept:
            self._drop(session)
        self._fire(BrokerEvents.CLIENT_DISCONNECTED, client_id=session.client_id, client_session=session)

    def subscribe(self, session: LeafSession, topic_filter: str, qos: int) -> int:
        """Grant a subscription: QoS 1 at most, and the same filter again replaces the first (MQTT 3.1.1, 3.8.4).

        The product grants without end; what goes beyond a session's bound is granted and forgotten.
        """
        granted = min(qos, 1)
        known = session.subscriptions.get(topic_filter)
        if known is None and len(session.subscriptions) >= _MOST_SUBSCRIPTIONS:
            return granted
        if known != granted:
            self._remove(session, topic_filter)
            self._add(session, topic_filter, granted)
        self._fire(BrokerEvents.CLIENT_SUBSCRIBED, client_id=session.client_id, topic=topic_filter, qos=granted)
        return granted

    def keep(self, session: LeafSession) -> None:
        """Store the subscriptions of a session that outlives its connection. Raises StoreError."""
        if not session.clean_session:
            session.kept = True
            self._store.save_session(session.client_id, session.subscriptions)

    def unsubscribe(self, session: LeafSession, topic_filter: str) -> None:
        """Take a subscription back."""
        self._remove(session, topic_filter)
        self._fire(BrokerEvents.CLIENT_UNSUBSCRIBED, client_id=session.client_id, topic=topic_filter)

    def _add(self, session: LeafSession, topic_filter: str, granted: int) -> None:
        self._broker._subscriptions.setdefault(topic_filter, []).append((session, granted))
        session.attributes[_SUBSCRIPTIONS][topic_filter] = granted

    def _remove(self, session: LeafSession, topic_filter: str) -> None:
        if session.attributes[_SUBSCRIPTIONS].pop(topic_filter, None) is None:
            return
        table = self._broker._subscriptions
        kept = [(other, qos) for other, qos in table[topic_filter] if other is not session]
        if kept:
            table[topic_filter] = kept
        else:
            del table[topic_filter]

    def _drop(self, session: LeafSession) -> None:
        for topic_filter in tuple(session.subscriptions):
            self._remove(session, topic_filter)
        self._broker._sessions.pop(session.client_id, None)
        if session.kept:
            session.kept = False
            self._store.drop_session(session.client_id)

    def _fire(self, event: Any, **facts: Any) -> None:
        plugins = self._broker.plugins_manager
        if event in plugins._event_plugin_callbacks:  # most gateways have no plugin: no task for nobody
            task = asyncio.ensure_future(plugins.fire_event(event, **facts))
            self._firing.add(task)
            task.add_done_callback(self._firing.discard)
