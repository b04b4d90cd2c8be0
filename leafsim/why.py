"""From a pasted error message to the causes that produce this very message.

Rule: nothing is guessed. A message counts when a measured TLS stack said it, or when it stands in the small table of
what SDKs say after TLS; what differs from run to run (file names, line numbers, host names, addresses) does not count.
Sources of the table: azure-iot-device 2.14 and azure-iot-device-mqtt 1.16 as they answer to CONNACK codes and closed
connections; MQTT 3.1.1, 3.2.2.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from certs.headlines import CAUSES, rule_of
from certs.outcomes import MEASURED_STACKS, outcomes
from certs.recipes import RECIPES

_TITLES = {stack.key: stack.title for stack in MEASURED_STACKS.values()}
_ORDER = {rule: place for place, rule in enumerate(CAUSES)}
_LEAST = 12  # shorter messages would be found in anything
_USUAL = 0.6  # the cause of more of the chains that got a message comes first, however rare it is otherwise
_CHANGING = (
    (re.compile(r"\(?_ssl\.c(:\d*\)?)?"), " "),
    (re.compile(r"0x[0-9a-f]+"), "#"),
    (re.compile(r"'[^']*'|\"[^\"]*\""), "'#'"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b"), "#"),
    (re.compile(r"\b[\w-]+(\.[\w-]+)+\.(local|test|net|com|example)\b"), "#"),
    (re.compile(r"\d{3,}"), "#"),
    (re.compile(r"[^a-z0-9#']+"), " "),
)
#: what SDKs say beyond TLS: a pattern -> rule, cause, fix, how to see it
_AFTER_TLS: tuple[tuple[str, str, str, str, str], ...] = (
    (
        r"not authori[sz]ed|0x5|refusednotauthorized|credentials invalid",
        "M6",
        "CONNACK 5: the device is no child of this gateway, unknown or disabled, or its key or token is wrong",
        "set its parent and wait two minutes; compare the key; compare the clocks",
        "leafgate run sas/wrong-key",
    ),
    (
        r"broker unavailable|server unavailable|refusedserverunavailable|rc 3\b",
        "M5",
        "CONNACK 3: the gateway cannot read the user name, or is not available",
        "use HUB/DEVICE/?api-version=... as user name; look at the gateway's log",
        "leafgate run faults/connack-unavailable",
    ),
    (
        r"identifier rejected",
        "M5",
        "CONNACK 2: the MQTT client id is not acceptable",
        "use DeviceId, or DeviceId/ModuleId",
        "leafgate up --fault connack:code=2",
    ),
    (
        r"(unacceptable|unsupported) protocol version",
        "M5",
        "CONNACK 1: the client does not speak MQTT 3.1.1",
        "use protocol level 4",
        "leafgate up --fault connack:code=1",
    ),
    (
        r"bad user ?name or password",
        "M5",
        "CONNACK 4: user name or password are malformed",
        "build both as the device SDKs do",
        "leafgate up --fault connack:code=4",
    ),
    (
        r"econnrefused|connection refused|errno 111",
        "D1",
        "nothing listens on that port: Edge Hub does not run, or the port is not published",
        "start Edge Hub; publish 8883, 443 and 5671; open the firewall",
        "leafgate run faults/refused",
    ),
    (
        r"name or service not known|getaddrinfo|enotfound|unknownhost|gaierror",
        "D1",
        "the gateway's name does not resolve on the leaf",
        "add it to DNS or to the hosts file",
        "leafgate leaf connect --help  (--connect-to goes around DNS)",
    ),
    (
        r"operationtimeout|transport timeout|timed? ?out",
        "M7",
        "the gateway does not answer: a firewall drops packets, or Edge Hub waits for IoT Hub because it does not know "
        "the device",
        "look at the gateway's log; open 8883; register the device as a child before it connects",
        "leafgate run faults/silent",
    ),
    (
        r"lost connection to iothub|connection was lost|channel closed",
        "M7",
        "the gateway ended the connection: a device with the same id connected, the token expired, or it restarted",
        "look at the gateway's log for the reason",
        "leafgate run faults/reset-after-handshake",
    ),
    (
        r"tls exchange|tlsexchangeautherror",
        "T1",
        "the TLS handshake failed; the exception below this one says why",
        "paste the whole traceback, its innermost line above all",
        "leafgate diagnose HOST:8883 --trust root.pem",
    ),
)


@dataclass(frozen=True)
class Explanation:
    """One cause of a message: who says it then, and how to see it."""

    rule: str
    cause: str
    fix: str
    stacks: tuple[str, ...]
    reproduce: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation for a program."""
        return asdict(self)


def why(text: str) -> list[Explanation]:
    """Return what can be behind an error message, the most frequent cause in the field first; empty when unknown."""
    asked = _bare(text)
    said = [message for message in _measured() if message in asked]
    longest = [one for one in said if not any(one in other for other in said if other != one)]
    if not longest and len(asked) >= _LEAST:  # only part of a message was pasted
        longest = [message for message in _measured() if asked.strip() in message]
    found: dict[str, dict[str, list[str]]] = {}
    for message in longest:
        for row, stack in _measured()[message]:
            found.setdefault(rule_of(row) or "", {}).setdefault(row, []).append(stack)
    explained = [_measured_cause(rule, rows) for rule, rows in found.items() if rule in CAUSES]
    total = sum(map(len, found.values()))
    usual = {rule for rule, rows in found.items() if len(rows) > _USUAL * total}
    ranked = sorted(_with_missing_root(explained), key=lambda one: (one.rule not in usual, _ORDER[one.rule]))
    return ranked or _after_tls(text)


def _with_missing_root(explained: list[Explanation]) -> list[Explanation]:
    """Add T1 to C1: to who verifies, a root that it does not have is a missing issuer like any other.

    The measured chains with a root that nobody trusts all sent it; gateways of today do not.
    """
    rules = {one.rule: one for one in explained}
    if "C1" not in rules or "T1" in rules:
        return explained
    root = Explanation("T1", *CAUSES["T1"], rules["C1"].stacks, ("leafgate run tls/root-missing-on-leaf",))
    return [*explained, root]


def _measured_cause(rule: str, rows: dict[str, list[str]]) -> Explanation:
    stacks = dict.fromkeys(stack for said in rows.values() for stack in said)
    shown = sorted(rows, key=lambda row: (len(RECIPES[row].defects), len(row)))[:2]
    return Explanation(rule, *CAUSES[rule], tuple(_TITLES[one] for one in stacks), tuple(map(_command, shown)))


def _command(row: str) -> str:
    return f"leafgate matrix {row}"


def _after_tls(text: str) -> list[Explanation]:
    lowered = text.lower()
    return [
        Explanation(rule, cause, fix, (), (see,))
        for pattern, rule, cause, fix, see in _AFTER_TLS
        if re.search(pattern, lowered)
    ]


@cache
def _measured() -> dict[str, tuple[tuple[str, str], ...]]:
    """Every measured message without what changes, with the rows and stacks that said it."""
    table: dict[str, list[tuple[str, str]]] = {}
    for name, row in outcomes().items():
        for stack, refusal in row.refused.items():
            for part in _parts(refusal.message):
                table.setdefault(part, []).append((name, stack))
    return {message: tuple(said) for message, said in table.items()}


def _parts(message: str) -> Iterable[str]:
    """The message, and what follows its last colon: people paste either."""
    without_code = re.sub(r"^[A-Z][A-Z_0-9]+ ", "", message)  # as Node.js writes them: CERT_HAS_EXPIRED certificate ...
    parts = (_bare(part) for part in (message, message.rpartition(": ")[2], without_code))
    return dict.fromkeys(part for part in parts if len(part) >= _LEAST)


def _bare(text: str) -> str:
    bare = text.lower()
    for pattern, instead in _CHANGING:
        bare = pattern.sub(instead, bare)
    return f" {bare.strip()} "
