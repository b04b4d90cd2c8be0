"""Who is let in: by the scope that is known here, by a scope that is asked for again, or by IoT Hub.

Rule: every question to the cloud takes a callback and a time by which it is given up; nobody waits for it but the
client concerned. A client that is connected is judged again by what is known here alone.
Sources: DeviceScopeAuthenticator.cs, CloudTokenAuthenticator.cs and CommonModule.cs (AuthenticationMode) of
Azure/iotedge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.config import Settings
from gateway.hub import authchain, onbehalf
from gateway.hub.auth import TokenFault
from gateway.hub.certificates import CertificateFault
from gateway.hub.identity import Identity
from gateway.hub.rules import Proof, Rules
from gateway.hub.scope import ScopeCache
from gateway.logs import without_secrets

#: told "" when the client is let in, otherwise why it is not
Answer = Callable[[str], None]
_OUT_OF_SCOPE_CERTIFICATE = "certificates are judged by the device scope, which this gateway does not use"
_AT_READING = (TokenFault.MALFORMED, TokenFault.EXPIRED)


class IdentityCheck(Protocol):
    """IoT Hub as the judge of a token."""

    def check_token(self, identity: Identity, token: str, answer: Callable[[bool | None], None]) -> None:
        """Whether the hub would let this identity connect with the token; None when it cannot be reached."""


@dataclass(slots=True)
class _Asked:
    """A question to IoT Hub; the first answer counts, and none is one too."""

    until: float
    answer: Callable[[bool | None], None] | None

    def settle(self, good: bool | None) -> None:
        answer, self.answer = self.answer, None
        if answer is not None:
            answer(good)


class Authenticator:
    """Judges proofs by `rules`.

    With a `scope` that comes first; then, unless it knows the identity, `cloud` is asked about tokens if it is given.
    """

    def __init__(
        self,
        rules: Rules,
        scope: ScopeCache | None,
        cloud: IdentityCheck | None,
        *,
        settings: Settings,
        now: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self.rules = rules
        self.scope = scope
        self.patience = settings.scope_refresh_wait
        self.now = now
        self.log = log
        self._cloud = cloud
        self._cloud_patience = settings.cloud_operation_timeout
        self._asked: list[_Asked] = []

    def authenticate(self, proof: Proof, answer: Answer) -> None:
        """Judge the proof of a client that connects."""
        if self.scope is None:
            self._ask_cloud(proof, _OUT_OF_SCOPE_CERTIFICATE, answer)
            return
        if onbehalf.is_on_behalf(proof.identity):
            self._authenticate_actor(proof, self.scope, answer)
        else:
            self._authenticate_locally(proof, self.scope, answer)

    def _authenticate_locally(self, proof: Proof, scope: ScopeCache, answer: Answer) -> None:
        objection = self.objection(proof, proof.identity.client_id)
        if not objection or objection in _AT_READING:
            self.tell_scope(proof, objection)
            answer(objection)
        else:
            _Attempt(self, scope, proof, answer).failed(objection)

    def _authenticate_actor(self, proof: Proof, scope: ScopeCache, answer: Answer) -> None:
        """An Edge Hub below this one speaks for somebody."""
        acting, target = authchain.actor(proof.identity.auth_chain), authchain.target(proof.identity.auth_chain)

        def chained() -> None:
            objection = onbehalf.objection(proof, scope)
            if objection:
                self.log.warning("%s cannot connect: %s", name_of(proof), without_secrets(objection))
                self.finish(proof, objection, True, answer)
            else:
                self._authenticate_locally(onbehalf.actor_proof(proof), scope, answer)

        unusable = self.rules.unusable(proof, self.now())
        if unusable is not None:
            self._tell(proof, unusable)
            self.finish(proof, unusable, True, answer)
        elif target is not None and scope.auth_chain(target) is None:
            text = "No cached auth-chain when authenticating %s OnBehalfOf %s. Resyncing service identity..."
            self.log.info(text, without_secrets(acting or ""), without_secrets(target))
            scope.look_up(onbehalf.to_look_up(proof), self.now() + self.patience, chained)
        else:
            chained()

    def reauthenticate(self, proof: Proof) -> str:
        """Judge the proof of a connected client again, without asking the cloud; see Answer."""
        if self.scope is None:
            return self.rules.unusable(proof, self.now()) or ""
        if onbehalf.is_on_behalf(proof.identity):
            objection = onbehalf.objection(proof, self.scope)
            return objection or self.reauthenticate(onbehalf.actor_proof(proof))
        found, reason = False, ""
        for owner in owners(proof):
            objection = self.objection(proof, owner)
            if not objection:
                return ""
            found, reason = self.scope.get(owner) is not None, reason or objection
        if not found and self._cloud is not None and proof.password:
            return self.rules.unusable(proof, self.now()) or ""
        return reason

    def tick(self) -> None:
        """Let time take effect on questions to IoT Hub."""
        now = self.now()
        over = [asked for asked in self._asked if asked.until <= now]
        self._asked = [asked for asked in self._asked if asked.until > now and asked.answer is not None]
        for asked in over:
            asked.settle(None)

    # -- parts of the judgement, for an attempt as well ---------------------------------------------------------------

    def objection(self, proof: Proof, owner: str) -> str:
        """What speaks against the proof by the identity `owner` as it is known now, told to the log."""
        assert self.scope is not None
        objection = self.rules.objection(proof, self.scope.get(owner), self.now())
        if objection:
            self._tell(proof, objection)
        return objection

    def finish(self, proof: Proof, reason: str, found: bool, answer: Answer) -> None:
        """The scope has spoken its last word; whom it does not know at all, IoT Hub may."""
        self.tell_scope(proof, reason)
        if reason and not found and proof.password and self._cloud is not None:
            self._ask_cloud(proof, reason, answer)
        else:
            answer(reason)

    def tell_scope(self, proof: Proof, reason: str) -> None:
        """Say how the scope has judged."""
        if self.log.isEnabledFor(logging.INFO):
            text = "Client %s in device scope %sauthenticated locally."
            self.log.info(text, name_of(proof), "not " if reason else "")

    def _ask_cloud(self, proof: Proof, otherwise: str, answer: Answer) -> None:
        if self._cloud is None or not proof.password:
            answer(otherwise)
            return
        name = name_of(proof)

        def judged(good: bool | None) -> None:
            if good:
                self.log.info("Authenticated %s with IotHub", name)
                answer("")
                return
            self.log.warning("Error validating token for %s with IoTHub", name)
            answer("IoT Hub refuses the token" if good is False else "IoT Hub cannot be asked about the token")

        asked = _Asked(self.now() + self._cloud_patience, judged)
        self._cloud.check_token(proof.identity, proof.password.decode("utf-8", errors="replace"), asked.settle)
        if asked.answer is not None:
            self._asked.append(asked)

    def _tell(self, proof: Proof, objection: str) -> None:
        name = name_of(proof)
        if objection in _AT_READING:
            text = "Error authenticating token for %s because the token is expired or could not be parsed: %s"
            self.log.info(text, name, objection)
            self.log.info("Credentials for client %s are not valid.", name)
        elif isinstance(objection, CertificateFault):
            self._tell_certificate(proof, name, objection)
        elif isinstance(objection, TokenFault):
            self.log.warning("Error authenticating token for %s because %s", name, objection)

    def _tell_certificate(self, proof: Proof, name: str, fault: CertificateFault) -> None:
        self.log.warning("Error authenticating certificate for %s because %s", name, fault)
        shown = self.rules.certificates.shown(proof.certificates)
        if shown is not None and fault in _IN_WORDS:
            self.log.warning("Certificate with subject: %s %s", shown.subject, _IN_WORDS[fault])
            self.log.warning("Invalid certificate with subject %s for %s", shown.subject, name)


_IN_WORDS = {
    CertificateFault.EXPIRED: "has expired",
    CertificateFault.NOT_YET_VALID: "is not valid until later",
    CertificateFault.IS_CA: "was found to be a CA certificate, this is not permitted per the authentication policy",
}


class _Attempt:
    """One client that what is known here does not let in: ask again about it and, for a module, about its device."""

    __slots__ = ("_answer", "_auth", "_owners", "_proof", "_reason", "_scope", "_until")

    def __init__(self, auth: Authenticator, scope: ScopeCache, proof: Proof, answer: Answer) -> None:
        self._auth = auth
        self._scope = scope
        self._proof = proof
        self._answer = answer
        self._owners = owners(proof)
        self._until = auth.now() + auth.patience
        self._reason = ""  # the first one that comes from an identity that is known

    def failed(self, objection: str) -> None:
        """What is known of the next owner of a key speaks against the client: have it asked for again."""
        owner = self._owners[0]
        found = self._scope.get(owner) is not None
        text = "Unable to authenticate client %s with cached service identity %s (Found: %s). "
        said = name_of(self._proof), without_secrets(owner), found
        self._auth.log.info(text + "Resyncing service identity...", *said)
        self._scope.refresh_identity(owner, self._until, self._refreshed)

    def _refreshed(self) -> None:
        if self._scope.get(self._owners[0]) is None and self._auth.now() < self._until:
            self._scope.await_refresh(self._until, self._decide)
        else:
            self._decide()

    def _decide(self) -> None:
        owner = self._owners.pop(0)
        objection = self._auth.objection(self._proof, owner)
        found = self._scope.get(owner) is not None
        if found or not self._owners:
            self._reason = self._reason or objection
        if objection and self._owners:
            text = "Unable to authenticate client %s with module credentials. "
            said = name_of(self._proof), without_secrets(self._owners[0])
            self._auth.log.info(text + "Attempting to authenticate using device %s credentials.", *said)
            objection = self._auth.objection(self._proof, self._owners[0])
            if objection:
                self.failed(objection)
                return
            found = True
        self._auth.finish(self._proof, self._reason if objection else "", found, self._answer)


def owners(proof: Proof) -> list[str]:
    """Whose keys a proof may be made with: the client's own, for a module with a token its device's too."""
    identity = proof.identity
    if identity.module_id is None or not proof.password or proof.acting:
        return [identity.client_id]
    return [identity.client_id, identity.device_id]


def name_of(proof: Proof) -> str:
    """The client id, fit for the log."""
    return without_secrets(proof.identity.client_id)
