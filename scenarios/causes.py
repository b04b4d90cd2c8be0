"""From what the gateway noticed to the probable cause, in words for the person who has to fix it.

Rule: what can be seen in the served chain is said first; a guess from the client's alert comes second and says
"probably". The gateway does not know what a client trusts; it supposes the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from certs import inspect, load_certificates
from gateway.events import ConnectionRefused, Event, HandshakeFailed
from leafsim.hints import CONNACK_NAMES

if TYPE_CHECKING:
    from certs import Chain
    from scenarios.stage import Stage


class Cause(NamedTuple):
    """Why, and what to do about it."""

    why: str
    fix: str = ""


# RFC 8446, section 6.2, as TLS stacks use it when they judge a server certificate: OpenSSL tells unknown_ca, expired
# and bad_certificate apart; GnuTLS, Go and rustls send bad_certificate and Java certificate_unknown for everything.
ALERTS = {
    "unknown_ca": Cause("the client does not trust the root of this chain", "give the client the root certificate"),
    "bad_certificate": Cause(
        "the client uses a name that is not in the server certificate, or its clock is behind",
        "compare GatewayHostName with the gateway's hostname, then the client's clock",
    ),
    "certificate_expired": Cause("a certificate has expired by the client's clock", "compare clocks, renew the chain"),
    "certificate_unknown": Cause(
        "the client refuses the chain without saying why (Java says this for every reason)",
        "give the client the root certificate, and compare GatewayHostName with the gateway's hostname",
    ),
    "unsupported_certificate": Cause("the client cannot handle a certificate's key or extensions", "try another --key"),
    "decrypt_error": Cause(
        "a signature in the chain does not verify for the client", "re-issue what the old CA signed"
    ),
    "decode_error": Cause("the client cannot read a certificate (rustls refuses serial number 0)", "re-issue it"),
    "protocol_version": Cause("client and gateway have no TLS version in common", "see --tls"),
    "handshake_failure": Cause("client and gateway have no cipher in common", "try another --key or --tls"),
}
CODES = {
    1: Cause("the client does not speak MQTT 3.1.1", "let it use protocol level 4"),
    3: Cause("the user name is not hub/device/?api-version=...", "build it as the SDKs do"),
    5: Cause("identity or token are not accepted", "copy the connection string again"),
}
#: by words of the gateway's reason, where the code alone would mislead
FIXES = {
    "a fault answers": "switch the fault off",
    "neither token nor certificate": "let it send a token as its password, or show a certificate",
    "act OnBehalfOf": "compare whose child it is in the registry with the gateway it is connected to",
    "in the scope": "register it at this gateway, which has to be its parent",
    "is disabled": "enable it",
    "has expired": "renew it, and compare the clocks",
    "not valid yet": "compare the clocks",
    "certificate": "compare the certificate and its chain with what the device is registered with",
}
NO_ALERT = Cause("its stack may judge after the handshake and leave without a word (Node.js, .NET), or it only looked")
NOT_TLS = Cause("what it sent is not TLS", "this port takes MQTT over TLS alone")
# What OpenSSL calls plain text where a ClientHello is due.
_PLAIN_TEXT = ("wrong version number", "http request", "packet length too long")


def probable(event: Event, chain: Chain) -> Cause | None:
    """The probable cause of a refusal; None when the event is none."""
    if isinstance(event, HandshakeFailed):
        return _of_handshake(event, chain)
    if isinstance(event, ConnectionRefused):
        return Cause(event.reason, _fix(event)) if event.reason else CODES.get(event.code or 0, Cause(""))
    return None


def _fix(event: ConnectionRefused) -> str:
    """What to do about a refusal: what its reason calls for, else what its code does."""
    for words, fix in FIXES.items():
        if words in event.reason:
            return fix
    return CODES.get(event.code or 0, Cause("")).fix


def _of_handshake(event: HandshakeFailed, chain: Chain) -> Cause:
    if event.sent_by == "gateway":
        if event.reason in _PLAIN_TEXT:
            return NOT_TLS
        return Cause(event.reason, ALERTS.get(event.alert or "", Cause("")).fix)
    seen = in_chain(chain, event.server_name)
    if seen:
        return seen
    if event.alert is None:
        return Cause(f"{event.reason}; {NO_ALERT.why}")
    guess = ALERTS.get(event.alert, Cause("it refuses the chain"))
    return Cause(f"probably {guess.why}", guess.fix)


def in_chain(chain: Chain, name: str | None, trust: Sequence[x509.Certificate] | None = None) -> Cause | None:
    """What is wrong with the served chain for a leaf that uses `name` and trusts the root, or `trust`."""
    anchors = chain.trust if trust is None else trust
    found = inspect.problems(chain.sent, name=name or chain.hostname, trust=anchors)
    errors = [problem for problem in found if problem.severity == "error"]
    return Cause(f"{errors[0].cause} ({errors[0].evidence})", errors[0].fix) if errors else None


def explain(stage: Stage) -> Cause:
    """Why and what to do, for a scenario that came out otherwise than expected; empty when nothing is known."""
    refusals = [event for event in stage.record.events if isinstance(event, HandshakeFailed | ConnectionRefused)]
    if not refusals:
        return Cause("")
    if isinstance(refusals[-1], HandshakeFailed) and stage.last is not None:
        leaf = stage.last
        trust = [] if leaf.pem is None else load_certificates(leaf.pem.read_bytes())
        seen = in_chain(stage.gateway.served, leaf.connection.target, trust)
        if seen:
            return seen
    return probable(refusals[-1], stage.gateway.served) or Cause("")


def who(event: Event) -> str:
    """The client, as far as it is known."""
    name = getattr(event, "client_id", None)
    return f"{event.peer} ({name})" if name else event.peer


def said(event: Event) -> str:
    """What the client said, or was told."""
    if isinstance(event, ConnectionRefused):
        if event.code is None:
            return "closed without CONNACK"
        return f"CONNACK {event.code} ({CONNACK_NAMES.get(event.code, 'refused')})"
    if isinstance(event, HandshakeFailed) and event.alert:
        return f"{'it sent' if event.sent_by == 'client' else 'got'} alert {event.alert}"
    return "no alert"
