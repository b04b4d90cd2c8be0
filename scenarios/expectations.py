"""What a step may expect: one word for one thing, wherever it stands.

`connected`, `refused`, `message`, `log`, `within`, `arrived` and `gateway_saw` mean the same in every step.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from scenarios.fields import Duration, Strict, Text, known_word, shorthand
from scenarios.tlsstacks import stack_names

# RFC 5246 section 7.2 and RFC 8446 section 6: the fatal alerts that a refused certificate or handshake leads to.
Alert = Literal[
    "close_notify",
    "unexpected_message",
    "bad_record_mac",
    "handshake_failure",
    "bad_certificate",
    "unsupported_certificate",
    "certificate_revoked",
    "certificate_expired",
    "certificate_unknown",
    "illegal_parameter",
    "unknown_ca",
    "access_denied",
    "decode_error",
    "decrypt_error",
    "protocol_version",
    "insufficient_security",
    "internal_error",
    "certificate_required",
]


class Refused(Strict):
    """A connection that did not come about. What is left out is not looked at."""

    by: Literal["leaf", "gateway"] | None = Field(default=None, description="who refused")
    class_: Literal["tls", "connack", "unreachable", "disconnected"] | None = Field(
        default=None, alias="class", description="where it ended"
    )
    verify_code: int | None = Field(default=None, description="X509_V_ERR number of the leaf's TLS stack")
    message: str | None = Field(default=None, description="part of what the leaf's TLS stack says")
    connack: int | None = Field(default=None, ge=1, le=5, description="CONNACK return code (MQTT 3.1.1, 3.2.2.3)")

    def describe(self) -> str:
        """The expectation in words."""
        facts = [
            f"by {self.by}" if self.by else "",
            f"CONNACK {self.connack}" if self.connack else "",
            f"{self.message!r}" if self.message else "",
            f"({self.verify_code})" if self.verify_code is not None else "",
            f"class {self.class_}" if self.class_ else "",
        ]
        return " ".join(["refused", *filter(None, facts)])


class GatewaySaw(Strict):
    """What the gateway noticed of a connection that did not come about."""

    alert: Alert | None = Field(default=None, description="TLS alert by its RFC 8446 name")
    code: int | None = Field(default=None, ge=1, le=5, description="CONNACK return code that it sent")
    reason: str | None = Field(default=None, description="part of the reason it gives")

    def describe(self) -> str:
        """The expectation in words."""
        facts = [
            f"alert {self.alert}" if self.alert else "",
            f"CONNACK {self.code}" if self.code else "",
            f"reason {self.reason!r}" if self.reason else "",
        ]
        return " ".join(filter(None, facts)) or "anything"


def _verdict(word: str) -> dict[str, Any]:
    # An unknown word stays as a key, so that the answer is the one for unknown keys: with a suggestion.
    return {word: {} if word == "refused" else True}


class Verdict(Strict):
    """How a connection ends: `connected`, or `refused` with what is known about it."""

    connected: Literal[True] | None = Field(default=None, description="the leaf is connected")
    refused: Refused | None = Field(default=None, description="the leaf is not connected")

    @model_validator(mode="after")
    def _one_of_both(self) -> Verdict:
        if self.connected and self.refused:
            raise PydanticCustomError("both", "a leaf cannot be `connected` and `refused` at once; keep one of them")
        return self

    def describe(self) -> str:
        """The expectation in words."""
        return self.refused.describe() if self.refused else "connected"


Outcome = Annotated[Verdict, shorthand(_verdict, Literal["connected", "refused"] | Verdict)]
StackName = Annotated[str, known_word("TLS stack", stack_names)]


class ConnectExpect(Verdict):
    """What `connect` may expect; without it the leaf has to be connected."""

    gateway_saw: GatewaySaw | None = Field(default=None, description="what the gateway noticed")
    log: str | None = Field(default=None, description="part of a line of the gateway's log")
    stacks: dict[StackName, Outcome] = Field(
        default_factory=dict, description="other TLS stacks: played when at hand, else reported as measured earlier"
    )
    within: Duration = Field(default=10.0, description="how long to wait at most")


class Arrived(Strict):
    """Messages that reached the upstream."""

    from_: str | None = Field(default=None, alias="from", description="the leaf that sent them; any leaf when left out")
    count: int = Field(default=1, ge=0, description="how many")
    body: Any = Field(default=None, description="the body of each of them: JSON, or text")
    properties: dict[str, str] | None = Field(default=None, description="application properties that each of them has")
    order: Literal["kept"] | None = Field(default=None, description="in the order in which they were sent")
    duplicates: int | None = Field(default=None, ge=0, description="how many arrived more than once")

    def describe(self) -> str:
        """The expectation in words."""
        who = f" from {self.from_}" if self.from_ else ""
        facts = [
            f"body {self.body!r}" if self.body is not None else "",
            f"properties {self.properties}" if self.properties else "",
            "in order" if self.order else "",
            f"{self.duplicates} duplicates" if self.duplicates is not None else "",
        ]
        return ", ".join([f"{self.count} message{'' if self.count == 1 else 's'}{who} arrived", *filter(None, facts)])


class Got(Strict):
    """Something that came for a leaf; one thing."""

    leaf: Text = Field(description="the leaf that listens")
    desired: dict[str, Any] | None = Field(default=None, description="a change of desired properties, whole")
    message: Text | None = Field(default=None, description="the body of a cloud-to-device message")
    count: int = Field(default=1, ge=0, description="how many of it, since it listens; 0: none")

    @model_validator(mode="after")
    def _one(self) -> Got:
        if (self.desired is None) is (self.message is None):
            raise PydanticCustomError("one", "name `desired` or `message`; two things are two steps")
        return self

    def fits(self, topic: str, body: bytes) -> bool:
        """Whether something that came is what is meant."""
        if self.message is not None:
            return "/messages/devicebound" in topic and body.decode("utf-8", "replace") == self.message
        if "/desired/" not in topic:
            return False
        change = json.loads(body)
        return {name: value for name, value in change.items() if name != "$version"} == self.desired

    def describe(self) -> str:
        """The expectation in words."""
        what = f"message {self.message!r}" if self.message is not None else f"desired change {self.desired}"
        return f"{self.leaf} to get {what} {self.count} time{'' if self.count == 1 else 's'}"


ConnectOutcome = Annotated[ConnectExpect, shorthand(_verdict, Literal["connected", "refused"] | ConnectExpect)]
