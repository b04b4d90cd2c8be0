"""What Edge Hubs below this one ask about their device scope, over HTTPS.

Rule: the path names who asks, the chain in the body for whom; both are looked up in the scope, never believed. Answers
hold keys, so nobody gets one without good credentials of an $edgeHub on the way to the identity asked for.
Sources: DeviceScopeController.cs, HttpRequestAuthenticator.cs, EdgeHubScopeResult.cs and EdgeHubScopeModule.cs of
Azure/iotedge (2020-06-30-preview); DeviceScopeApiClient.cs there for the two older calls (2018-08-30-preview), which
IoT Hub answers and Edge Hub itself does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote_plus

from gateway.broker.carrier import Host
from gateway.broker.methodcalls import IN_TOKEN, authorization
from gateway.broker.report import Report
from gateway.broker.routes import JSON, HttpAnswer, HttpRequest, Reply
from gateway.hub import authchain
from gateway.hub.auth import TokenFault
from gateway.hub.authenticator import Authenticator
from gateway.hub.identity import Identity
from gateway.hub.rules import Proof
from gateway.hub.scope import ScopeCache
from gateway.hub.service_identity import ServiceIdentity

PAGE: Final = 10
_SLACK: Final = 60.0  # seconds on top of what the cloud may take


class ScopeCalls:
    """Takes the scope calls of one gateway; the older, paged ones too."""

    def __init__(self, *, hub_hostname: str, authenticator: Authenticator, report: Report) -> None:
        self._hub_hostname = hub_hostname
        self._authenticator = authenticator
        self._report = report

    def call(self, request: HttpRequest, path: tuple[str, str, str], host: Host, reply: Reply) -> float:
        """Take a call of (device id, module id, name of the call in lower case); see ScopeEndpoint."""
        device, module, name = unquote_plus(path[0]), unquote_plus(path[1]), path[2]
        if module != authchain.EDGE_HUB:
            reply(_error(401, f"{device}/{module} not authorized to perform on-behalf-of operations"))
            return 0
        body = _fields(request) if request.method == "POST" else {"authChain": device}
        chain = body.get("authChain")
        if not isinstance(chain, str) or not chain.strip():
            reply(_error(400, "Invalid auth chain: "))
            return 0
        then = partial(self._HANDLERS[name], self, request, body)
        self._authenticate(request, (device, chain), host, reply, then)
        return 2 * self._authenticator.patience + _SLACK

    def _authenticate(
        self,
        request: HttpRequest,
        who: tuple[str, str],
        host: Host,
        reply: Reply,
        then: Callable[[str, ScopeCache, Reply], None],
    ) -> None:
        device, chain = who
        caller = authchain.edge_hub(device)
        certificates, password = host.certificates(), None
        if not certificates:
            password, wrong = authorization(request)
            if wrong is not None:
                self._report.unauthorized(host, caller, wrong, wrong)
                reply(_error(401, wrong))
                return
        acting = authchain.actor(chain)
        if acting is not None and acting != device:
            self._refuse(host, caller, f"the auth-chain {chain} is not that of {device}", reply)
            return
        identity = Identity(self._hub_hostname, device, authchain.EDGE_HUB, "", auth_chain=chain)

        def judged(reason: str) -> None:
            scope = self._authenticator.scope
            if reason or scope is None:
                self._refuse(host, caller, reason or "this gateway has no device scope", reply)
            else:
                then(device, scope, reply)

        self._authenticator.authenticate(Proof(identity, password, certificates), judged)

    def _refuse(self, host: Host, caller: str, reason: str, reply: Reply) -> None:
        message = IN_TOKEN.get(reason) if isinstance(reason, TokenFault) else None
        message = message or f"Unable to authenticate device with Id {caller}"
        self._report.unauthorized(host, caller, message, reason)
        reply(_error(401, message))

    # -- the calls ----------------------------------------------------------------------------------------------------

    def _target_scope(
        self, request: HttpRequest, body: dict[str, Any], device: str, scope: ScopeCache, reply: Reply
    ) -> None:
        """Everything directly below the edge device that the chain begins with, and that device itself."""
        target = authchain.target(body["authChain"]) or ""
        if not target or "/" in target:
            reply(_error(400, f"Invalid auth chain: {body['authChain']}"))
            return
        wrong = _not_above(scope, device, target)
        if wrong:
            reply(_error(401, wrong))
            return
        own = scope.get(target)
        reply(_result([*scope.children(target), *([] if own is None else [own])]))

    def _on_behalf_of(
        self, request: HttpRequest, body: dict[str, Any], device: str, scope: ScopeCache, reply: Reply
    ) -> None:
        """One identity below the edge device that the chain begins with; it is always asked for upstream first."""
        name, module = body.get("targetDeviceId"), body.get("targetModuleId")
        if not isinstance(name, str) or not name.strip() or not isinstance(module, str | None):
            reply(_error(400, "targetDeviceId is null or whitespace."))
            return
        target = f"{name}/{module}" if module and module.strip() else name
        origin = authchain.target(body["authChain"]) or device
        origin = device if "/" in origin else origin
        self._find(target, origin, device, scope, reply)

    def _find(self, target: str, origin: str, device: str, scope: ScopeCache, reply: Reply) -> None:
        until = self._authenticator.now() + self._authenticator.patience

        def decide() -> None:
            found, chain = scope.get(target), scope.auth_chain(target)
            if found is None or chain is None or not authchain.permits(chain, origin, target):
                message = f"{authchain.edge_hub(device)} not authorized to get information for {target}"
                reply(_error(401, message))
                return
            owner = scope.get(found.device_id) if found.module_id is not None else None
            reply(_result([found, *([] if owner is None else [owner])]))

        def refreshed() -> None:
            if scope.get(target) is None:
                scope.await_refresh(until, decide)
            else:
                decide()

        owner = [target.partition("/")[0]] if "/" in target else []
        scope.look_up(owner, until, lambda: scope.refresh_identity(target, until, refreshed))

    def _device_scope(
        self, request: HttpRequest, body: dict[str, Any], device: str, scope: ScopeCache, reply: Reply
    ) -> None:
        """The older call: a page of what is directly below the edge device, by devices."""
        query = parse_qs(request.query)
        count, start = _number(query, "deviceCount", PAGE), _number(query, "continuationToken", 0)
        own = scope.get(device)
        if own is None:
            reply(_error(404, f"{device} not found"))
            return
        if count is None or start is None:
            reply(_error(400, "deviceCount and continuationToken are numbers"))
            return
        below = scope.children(device)
        devices = [own, *(each for each in below if each.module_id is None)]
        count = min(count, PAGE) or PAGE
        page = devices[start : start + count]
        names = {each.device_id for each in page}
        modules = [each for each in below if each.module_id is not None and each.device_id in names]
        rest = start + count if start + count < len(devices) else None
        link = None if rest is None else _continuation(self._hub_hostname, device, count, rest)
        reply(_result([*page, *modules], link))

    def _one_in_scope(
        self, request: HttpRequest, body: dict[str, Any], device: str, scope: ScopeCache, reply: Reply
    ) -> None:
        """The older call for one identity."""
        query = parse_qs(request.query)
        name = query.get("targetDeviceId", [""])[0]
        module = query.get("targetModuleId", [""])[0]
        if not name.strip():
            reply(_error(400, "targetDeviceId is null or whitespace."))
            return
        self._find(f"{name}/{module}" if module else name, device, device, scope, reply)

    _HANDLERS: Final = {
        "devicesandmodulesintargetdevicescope": _target_scope,
        "getdeviceandmoduleonbehalfof": _on_behalf_of,
        "devicesandmodulesindevicescope": _device_scope,
        "deviceandmoduleindevicescope": _one_in_scope,
    }


def _not_above(scope: ScopeCache, device: str, target: str) -> str:
    chain = scope.auth_chain(target)
    if chain is None:
        return f"Auth chain to target device {target} not found"
    if not authchain.permits(chain, device, target):
        return f"Invalid request as auth chain ({chain}) to {target} does not contain {device}"
    return ""


def _fields(request: HttpRequest) -> dict[str, Any]:
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(query: dict[str, list[str]], name: str, default: int) -> int | None:
    text = query.get(name, [""])[0]
    if not text:
        return default
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _continuation(host: str, device: str, count: int, rest: int) -> str:
    where = f"https://{host}/devices/{quote(device, safe='')}/modules/$edgeHub/devicesAndModulesInDeviceScope"
    return f"{where}?deviceCount={count}&continuationToken={rest}&api-version=2018-08-30-preview"


def _result(identities: Iterable[ServiceIdentity], link: str | None = None) -> HttpAnswer:
    devices: list[dict[str, Any]] = []
    modules: list[dict[str, Any]] = []
    for identity in identities:
        document = identity.to_json()
        if identity.module_id is None:
            devices.append(document)
        else:
            kept: Sequence[str] = ("moduleId", "deviceId", "generationId", "authentication")
            modules.append({name: document[name] for name in kept})
    return _json(200, {"devices": devices, "modules": modules, "continuationLink": link})


def _error(status: int, message: str) -> HttpAnswer:
    return _json(status, {"ErrorMessage": message})


def _json(status: int, document: dict[str, Any]) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(document, separators=(",", ":")).encode(), JSON)
