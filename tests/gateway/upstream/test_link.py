"""From the store to the inbox."""

import io
import logging

from gateway import Inbox, StoreError
from gateway.hub.messages import Message
from gateway.store.memory import MemoryStore
from gateway.store.sqlite import SqliteStore
from gateway.upstream.link import Link


def messages(first, last):
    """Messages with these numbers."""
    return [Message(one, "press", None, 0, "{}", "{}", b"") for one in range(first, last + 1)]


def test_link_delivers_what_waited_in_the_store_first(tmp_path):
    """2,500 messages left behind arrive in order, in pieces; they leave the store once they are upstream."""
    store, inbox = SqliteStore(tmp_path / "messages.db"), Inbox()
    store.write(messages(1, 2_500))
    link = Link(store, inbox, logging.getLogger("test"))
    assert link.catch_up() == 2_500
    store.write(messages(2_501, 2_501))
    link.forward(messages(2_501, 2_501))
    assert [one.sequence for one in inbox.messages] == list(range(1, 2_502))
    link.settle()
    assert store.read(0, 10) == []
    assert store.next_sequence() == 2_502
    store.close()


def test_link_forgets_a_message_only_when_the_inbox_has_it():
    """A store that looks at the inbox while it is told to forget finds the messages there."""
    inbox, seen = Inbox(), []

    class Watching(MemoryStore):
        def forget(self, through):
            seen.append((through, inbox.messages[-1].sequence))
            super().forget(through)

    store = Watching()
    link = Link(store, inbox, logging.getLogger("test"))
    for number in range(1, 5_001):
        store.write(messages(number, number))
        link.forward(messages(number, number))
    link.settle()
    link.settle()
    assert seen == [(2_000, 2_000), (4_000, 4_000), (5_000, 5_000)]


def test_link_goes_on_when_the_store_cannot_forget():
    """A full disk while deleting is a line in the log: forwarding continues, the next try may succeed."""
    failing, said = True, io.StringIO()

    class Full(MemoryStore):
        def forget(self, through):
            if failing:
                raise StoreError("messages cannot be deleted: full")
            super().forget(through)

    log = logging.Logger("test")
    log.addHandler(logging.StreamHandler(said))
    store, inbox = Full(), Inbox()
    link = Link(store, inbox, log)
    store.write(messages(1, 2_100))
    link.forward(messages(1, 2_100))
    store.write(messages(2_101, 2_200))
    link.forward(messages(2_101, 2_200))
    assert said.getvalue() == "messages cannot be deleted: full\n"
    assert (len(inbox), len(store.read(0, 9_999))) == (2_200, 2_200)
    failing = False
    link.settle()
    assert store.read(0, 9_999) == []
