"""The device scope as the gateway above tells it.

Rules: while that cannot be reached nothing is answered; who has asked meanwhile gets the answer when it can. 401, 403,
400 and 404 mean that an identity is not in the scope; whatever else goes wrong means that nobody could be asked.
Sources: NestedDeviceScopeApiClient.cs and ServiceProxy.cs of Azure/iotedge (one question for each edge device, from the
top down; MapException).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote

from gateway.hub.authchain import EDGE_HUB
from gateway.hub.identity import Identity
from gateway.hub.scope import UNREACHABLE, Answer, Answers
from gateway.hub.service_identity import ServiceIdentity
from gateway.upstream.parent.credentials import Credentials
from gateway.upstream.parent.errors import ParentError

_PAGE = 1_000  # the parent answers with everything at once; IoT Hub pages
_MOST_WAITING = 10_000
_NOT_THERE = frozenset({400, 401, 403, 404})
_API = "api-version=2020-06-30-preview"
_NO_STATUS: Mapping[str, Any] = {
    "status": "enabled",
    "capabilities": {"iotEdge": False},
    "deviceScope": None,
    "parentScopes": [],
}

Post = Callable[[str, Mapping[str, Any]], Coroutine[Any, Any, tuple[int, Any]]]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class TokenCheck(Protocol):
    """Tries a client's own token at the gateway above."""

    async def __call__(self, identity: Identity, token: str) -> bool:
        """Whether it lets the client in. Raises ParentError."""


class ScopeQuestions:
    """The calls themselves; `post` sends a document to a path of the gateway above and returns status and answer."""

    def __init__(self, credentials: Credentials, post: Post) -> None:
        self._credentials = credentials
        self._post = post

    async def whole(self) -> list[ServiceIdentity]:
        """Everything in the scope, this gateway's own device included. Raises ParentError."""
        own = self._credentials.parent.device_id
        found: dict[str, ServiceIdentity] = {}
        chains = [own]
        asked: set[str] = set()
        while chains:
            chain = chains.pop(0)
            target = chain.partition(";")[0]
            asked.add(target)
            for identity in await self.below(chain):
                found[identity.client_id] = identity
                if identity.edge and identity.device_id not in asked:
                    asked.add(identity.device_id)
                    chains.append(f"{identity.device_id};{chain}")
        return list(found.values())

    async def below(self, chain: str) -> list[ServiceIdentity]:
        """What is directly below the edge device a chain begins with, and that device. Raises ParentError."""
        found: list[ServiceIdentity] = []
        link: str | None = None
        while True:
            more = {} if link is None else {"continuationLink": link}
            answer = await self._ask(
                "devicesAndModulesInTargetDeviceScope", {"pageSize": _PAGE, **more, "authChain": chain}
            )
            found += _identities(answer)
            link = answer.get("continuationLink")
            if not link:
                self._credentials.learn(found)
                return found

    async def one(self, client_id: str) -> ServiceIdentity | None:
        """One identity; None when it is not in the scope. Raises ParentError."""
        device, _, module = client_id.partition("/")
        named = {"targetDeviceId": device} | ({"targetModuleId": module} if module else {})
        try:
            chain = self._credentials.parent.device_id
            answer = await self._ask("getDeviceAndModuleOnBehalfOf", {**named, "authChain": chain})
        except ParentError as wrong:
            if wrong.refused:
                return None
            raise
        return next((each for each in _identities(answer) if each.client_id == client_id), None)

    async def _ask(self, call: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        device = quote(self._credentials.parent.device_id, safe="")
        path = f"/devices/{device}/modules/{EDGE_HUB}/{call}?{_API}"
        status, answer = await self._post(path, document)
        if status == 200 and isinstance(answer, dict):
            return answer
        said = answer.get("ErrorMessage") if isinstance(answer, dict) else None
        text = f"{call} got {status}{f': {said}' if isinstance(said, str) else ''}"
        raise ParentError("http", text, refused=status in _NOT_THERE)


class ParentScope:
    """The gateway above as the Edge Hub's scope asks it (ScopeSource, IdentityCheck)."""

    def __init__(
        self, questions: ScopeQuestions, check: TokenCheck, spawn: Spawn, say: Callable[[ParentError], None]
    ) -> None:
        self._questions = questions
        self._check = check
        self._spawn = spawn
        self._say = say
        self._online = False
        self._waiting: list[Callable[[], object]] = []

    def forget(self) -> None:
        """Nobody who has asked wants to know any more."""
        self._waiting.clear()

    def reach(self, online: bool) -> None:
        """It can be reached, or not, from now on."""
        was, self._online = self._online, online
        if online and not was:
            waiting, self._waiting = self._waiting, []
            for ask in waiting:
                ask()

    def fetch(self, client_id: str, answer: Answer) -> None:
        """See ScopeSource."""

        async def ask() -> None:
            answer(await self._questions.one(client_id))

        self._when_online(ask, lambda: answer(UNREACHABLE))

    def fetch_all(self, answer: Answers) -> None:
        """See ScopeSource."""

        async def ask() -> None:
            answer(await self._questions.whole())

        self._when_online(ask, lambda: answer(UNREACHABLE))

    def check_token(self, identity: Identity, token: str, answer: Callable[[bool | None], None]) -> None:
        """See IdentityCheck: the client's own token, tried at the gateway above."""

        async def ask() -> None:
            answer(await self._check(identity, token))

        self._when_online(ask, lambda: answer(None))

    def _when_online(self, ask: Callable[[], Coroutine[Any, Any, None]], give_up: Callable[[], None]) -> None:
        async def attempt() -> None:
            try:
                await ask()
            except ParentError as wrong:
                self._say(wrong)
                give_up()

        if self._online:
            self._spawn(attempt())
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append(lambda: self._spawn(attempt()))
        else:
            give_up()


def _identities(answer: Mapping[str, Any]) -> Sequence[ServiceIdentity]:
    """The identities of an answer, devices first. A module has no status of its own: it is its device's."""
    try:
        devices = [ServiceIdentity.from_json(each) for each in answer.get("devices") or ()]
        enabled = {each.device_id: each.enabled for each in devices}
        modules = [ServiceIdentity.from_json({**_NO_STATUS, **each}) for each in answer.get("modules") or ()]
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        # Only the kind of error: its text may quote the answer, which holds keys.
        raise ParentError("http", f"an answer about the scope cannot be read: {type(wrong).__name__}") from None
    return [*devices, *(replace(each, enabled=enabled.get(each.device_id, True)) for each in modules)]
