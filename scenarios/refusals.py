"""What `leafgate up` says while it runs: the gateway's log, and one line with the cause for each refused client."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway import logs
from gateway.events import ConnectionRefused, Event, HandshakeFailed
from scenarios import causes
from scenarios.words import printable

if TYPE_CHECKING:
    from gateway import Gateway

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def show_log(level: str, *, as_json: bool) -> Callable[[], None]:
    """Send the gateway's log to stderr; returns what ends that."""
    if level not in LEVELS:
        return lambda: None
    handler = logs.log_to(sys.stderr, as_json=as_json, level=LEVELS[level])
    return lambda: logging.getLogger("leafgate").removeHandler(handler)


class Refusals:
    """Says at once who was refused, what it said, and why that probably is."""

    def __init__(self, gateway: Gateway, *, as_json: bool) -> None:
        self._gateway = gateway
        self._as_json = as_json

    def see(self, event: Event) -> None:
        """Take an event; other events than refusals say nothing."""
        if not isinstance(event, HandshakeFailed | ConnectionRefused):
            return
        line = self.line(event)
        if self._as_json:
            logging.getLogger("leafgate.refused").warning("%s", line)
        else:
            sys.stderr.write(f"✗ {line}\n")
            sys.stderr.flush()

    def line(self, event: Event) -> str:
        """The refusal as one line. What a client calls itself must not look like another line."""
        cause = causes.probable(event, self._gateway.chain)
        assert cause is not None
        fix = f"; {cause.fix}" if cause.fix else ""
        # Without an alert nobody knows whether the client refused anything; it is gone all the same.
        verb = "lost" if isinstance(event, HandshakeFailed) and event.alert is None else "refused"
        return printable(f"{verb} {causes.who(event)}: {causes.said(event)}: {cause.why}{fix}")
