"""Which HTTPS request goes where, and what the others get.

Rule: a path decides, never the host name: SDKs that go through a gateway name the hub in `Host`.
Sources: Startup.cs and TwinsController.cs of Azure/iotedge (an unknown path gets ASP.NET's 404, another method 405).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.broker.carrier import Host
from gateway.broker.report import Report

_METHODS = re.compile(r"/twins/([^/]+)(?:/modules/([^/]+))?/methods/?\Z", re.IGNORECASE)
_SCOPE = re.compile(
    r"/devices/([^/]+)/modules/([^/]+)/(devicesAndModulesInTargetDeviceScope|getDeviceAndModuleOnBehalfOf"
    r"|devicesAndModulesInDeviceScope|deviceAndModuleInDeviceScope)/?\Z",
    re.IGNORECASE,
)
_FILES = re.compile(r"/devices/[^/]+/files(/notifications)?/?\Z", re.IGNORECASE)
JSON: Final = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request; header names are in lower case, `path` is as sent."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """The values of a header, in the order they came."""
        return [value for header, value in self.headers if header == name]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a request gets."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


Reply = Callable[[HttpAnswer], None]


def text(status: int, message: str) -> HttpAnswer:
    """A sentence."""
    return HttpAnswer(status, message.encode(), "text/plain; charset=utf-8")


def failure(status: int, message: str) -> HttpAnswer:
    """A MethodErrorResult."""
    return HttpAnswer(status, json.dumps({"message": message}, separators=(",", ":")).encode(), JSON)


class MethodEndpoint(Protocol):
    """What takes method calls."""

    def call(self, request: HttpRequest, target: tuple[str, str | None], host: Host, reply: Reply) -> float:
        """Take a call for (device id, module id), both as in the path.

        `reply` is called once, now or later; returns after how many seconds it has been called at the latest.
        """


class ScopeEndpoint(Protocol):
    """What answers Edge Hubs below this one about their device scope."""

    def call(self, request: HttpRequest, path: tuple[str, str, str], host: Host, reply: Reply) -> float:
        """Take a call of (device id, module id, name of the call in lower case); see MethodEndpoint.call."""


class Routes:
    """The routes of one gateway."""

    def __init__(self, methods: MethodEndpoint, report: Report, scope: ScopeEndpoint | None = None) -> None:
        self._methods = methods
        self._scope = scope
        self.report = report

    def dispatch(self, request: HttpRequest, host: Host, reply: Reply) -> float:
        """Have a request answered; see MethodEndpoint.call."""
        found = _METHODS.match(request.path)
        if self._scope is not None and (asked := _SCOPE.match(request.path)):
            return _dispatch_scope(self._scope, request, (asked[1], asked[2], asked[3].lower()), host, reply)
        if found is None:
            if _FILES.match(request.path):
                self.report.file_upload(host, request.method, request.path)
            else:
                self.report.unknown_path(host, request.method, request.path)
            reply(HttpAnswer(404))
        elif request.method != "POST":
            reply(HttpAnswer(405, headers=(("Allow", "POST"),)))
        else:
            return self._methods.call(request, (found[1], found[2]), host, reply)
        return 0


def _dispatch_scope(
    endpoint: ScopeEndpoint, request: HttpRequest, path: tuple[str, str, str], host: Host, reply: Reply
) -> float:
    allowed = "GET" if path[2].endswith("indevicescope") else "POST"
    if request.method != allowed:
        reply(HttpAnswer(405, headers=(("Allow", allowed),)))
        return 0
    return endpoint.call(request, path, host, reply)
