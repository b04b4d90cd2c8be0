"""What `leafgate up` says while it runs: its log, and one line for each refused client, with the cause, and restart."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway import logs
from gateway.events import ConnectionRefused, Event, HandshakeFailed, HubExited, HubStarted
from scenarios import causes
from scenarios.record import describe
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
    """Says at once who was refused, what it said, and why that probably is; and when Edge Hub restarts."""

    def __init__(self, gateway: Gateway, *, as_json: bool) -> None:
        self._gateway = gateway
        self._as_json = as_json

    def see(self, event: Event) -> None:
        """Take an event; other events than refusals and restarts say nothing."""
        if isinstance(event, HandshakeFailed | ConnectionRefused):
            self._say("✗", "leafgate.refused", self.line(event))
        elif isinstance(event, HubExited | HubStarted):
            self._say("↻", "leafgate.restarts", describe(event))

    def _say(self, sign: str, source: str, line: str) -> None:
        if self._as_json:
            logging.getLogger(source).warning("%s", line)
        else:
            sys.stderr.write(f"{sign} {line}\n")
            sys.stderr.flush()

    def line(self, event: Event) -> str:
        """The refusal as one line. What a client calls itself must not look like another line."""
        cause = causes.probable(event, self._gateway.served)
        assert cause is not None
        fix = f"; {cause.fix}" if cause.fix else ""
        # Without an alert nobody knows whether the client refused anything; it is gone all the same.
        verb = "lost" if isinstance(event, HandshakeFailed) and event.alert is None else "refused"
        return printable(f"{verb} {causes.who(event)}: {causes.said(event)}: {cause.why}{fix}")
