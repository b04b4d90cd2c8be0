"""Whether a client may connect, and with which CONNACK code.

Rule: every CONNACK code is decided here, from the table of what the product answers: 1 for another protocol level, 3
when the identity cannot even be read, 5 for everything that concerns authentication; 2 and 4 are never used.
Sources: MqttAdapter.cs (Azure/azure-iot-protocol-gateway), DeviceIdentityProvider.cs (Azure/iotedge).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.hub import authchain
from gateway.hub.authenticator import Authenticator
from gateway.hub.identity import UsernameError, parse_username
from gateway.hub.rules import Proof


class ConnackCode(IntEnum):
    """Return codes of MQTT 3.1.1 section 3.2.2.3 that Edge Hub uses."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    SERVER_UNAVAILABLE = 3
    NOT_AUTHORIZED = 5


@dataclass(frozen=True, slots=True)
class Will:
    """What the gateway says in the client's name when the connection breaks."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT packet of MQTT 3.1.1; `keep_alive` in seconds. The password never shows in a repr."""

    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)
    clean_session: bool
    keep_alive: int
    will: Will | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a CONNECT; `reason` says in words why it is not 0, `proof` is what the client showed."""

    code: int
    proof: Proof | None
    reason: str


class Admission:
    """The gateway's door."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.authenticator = authenticator

    def judge(self, connect: Connect, certificates: Sequence[bytes], answer: Callable[[Verdict], None]) -> None:
        """Decide about a CONNECT of MQTT 3.1.1 that has just arrived.

        `certificates` are what the client sent in its handshake, as sent (DER), its own first. `answer` is called once:
        at once, or when the cloud has been asked or has not answered in time.
        """
        try:
            identity = parse_username(connect.username or "")
        except UsernameError as wrong:
            answer(Verdict(ConnackCode.SERVER_UNAVAILABLE, None, f"the user name cannot be read: {wrong}"))
            return
        if not connect.client_id.strip():
            answer(Verdict(ConnackCode.SERVER_UNAVAILABLE, None, "the client id is blank"))
            return
        proof = Proof(identity, connect.password or None, () if connect.password else certificates)
        reason = _mismatch(connect, proof)
        if reason:
            answer(Verdict(ConnackCode.NOT_AUTHORIZED, proof, reason))
            return

        def judged(reason: str) -> None:
            code = ConnackCode.NOT_AUTHORIZED if reason else ConnackCode.ACCEPTED
            answer(Verdict(code, proof, reason))

        self.authenticator.authenticate(proof, judged)


def _mismatch(connect: Connect, proof: Proof) -> str | None:
    if connect.client_id != proof.identity.client_id:
        return f"the client id {connect.client_id!r} is not {proof.identity.client_id!r} as the user name says"
    chain = proof.identity.auth_chain
    if authchain.actor(chain) is not None and authchain.target(chain) != connect.client_id:
        return f"the auth-chain {chain!r} is not for {connect.client_id!r}"
    if not proof.password and not proof.certificates:
        return "neither token nor certificate was given"
    return None
