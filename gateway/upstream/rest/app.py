"""The service API as one ASGI application: who may come in, which calls there are, and what a refusal looks like.

Rule: a token is judged first, then the api-version, then the rest of the request; only the API's own description
(`/openapi.json`), which has nothing of the hub in it, is given to whoever asks.
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway.errors import GatewayError, HubCode, ServiceError
from gateway.upstream.policies import UnauthorizedError
from gateway.upstream.rest import (
    bulk,
    commands,
    configurations,
    devices,
    digitaltwins,
    feedback,
    jobs,
    methods,
    modules,
    query,
    statistics,
    twins,
)
from gateway.upstream.rest.answers import refusal
from gateway.upstream.rest.description import API_VERSION, API_VERSIONS, complete
from gateway.upstream.rest.service import RIGHTS, Service
from gateway.web.guard import Application, Receive, Scope, Send

DESCRIPTION = "/openapi.json"
#: stands for a slash inside an id, which makes it a wrong id and not another path
_SLASH = "\N{FRACTION SLASH}"
#: the calls, one router for each noun
ROUTERS: tuple[APIRouter, ...] = (
    devices.router,
    bulk.router,
    modules.router,
    commands.router,
    twins.router,
    methods.router,
    feedback.router,
    statistics.router,
    query.router,
    configurations.router,
    jobs.router,
    digitaltwins.router,
)


def application(service: Service) -> Application:
    """The API of one hub."""
    app = _Api(
        title="Azure IoT Hub service API, emulated",
        version=API_VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=DESCRIPTION,
        redirect_slashes=False,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    _answer_errors(app, service)
    return _Entrance(app, service)


class _Api(FastAPI):
    """The calls, described when somebody asks."""

    def openapi(self) -> dict[str, Any]:
        """The description; see `description`."""
        if self.openapi_schema is None:
            complete(super().openapi())
        assert self.openapi_schema is not None
        return self.openapi_schema


class _Entrance:
    """Lets in who has a good token and speaks a version that there is."""

    def __init__(self, app: Application, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        try:
            self._check(scope)
            await self._app(_tidied(scope), receive, _numbered(send))
        except GatewayError as wrong:
            await refusal(wrong, service.now())(scope, receive, _numbered(send))
        except Exception:  # noqa: BLE001 - answered and logged by then; starlette raises it again for the server to log
            return

    def _check(self, scope: Scope) -> None:
        if scope["path"] == DESCRIPTION:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            token = headers.get("authorization", "")
            scope[RIGHTS] = self._service.policies.permissions(token, scope["path"], self._service.now())
        except UnauthorizedError as wrong:
            self._service.log.warning("Service API: %s %s refused: %s", scope["method"], scope["path"], wrong.reason)
            raise
        _check_version(scope["query_string"])


def _check_version(query: bytes) -> None:
    found = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("api-version", [])
    if len(found) != 1 or found[0] not in API_VERSIONS:
        said = f"api-version {found[0]!r} is not supported" if found else "api-version is missing"
        raise ServiceError(400, "InvalidProtocolVersion", f"{said}; use {API_VERSION}")


def _tidied(scope: Scope) -> Scope:
    """The request as the calls expect it: the Node.js SDK lists `/devices/`; nobody has to say that JSON is JSON."""
    raw = scope["raw_path"].decode("latin-1").rstrip("/") or "/"
    path = "/".join(unquote(part).replace("/", _SLASH) for part in raw.split("/"))
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
    return {**scope, "path": path, "raw_path": None, "headers": [*headers, (b"content-type", b"application/json")]}


def _numbered(send: Send) -> Send:
    async def numbered(event: Any) -> None:
        if event["type"] == "http.response.start":
            request_id = str(uuid.uuid4()).encode()
            event = {**event, "headers": [*event.get("headers", ()), (b"x-ms-request-id", request_id)]}
        await send(event)

    return numbered


def _answer_errors(app: FastAPI, service: Service) -> None:
    """Turn whatever goes wrong into IoT Hub's words."""

    async def refused(_: Request, wrong: Exception) -> Response:
        assert isinstance(wrong, GatewayError)
        return refusal(wrong, service.now())

    async def unreadable(_: Request, wrong: Exception) -> Response:
        assert isinstance(wrong, RequestValidationError)
        return refusal(_what_is_wrong(wrong), service.now())

    async def unknown(_: Request, wrong: Exception) -> Response:
        assert isinstance(wrong, HTTPException)
        return refusal(_HTTP.get(wrong.status_code, _BAD_BODY), service.now())

    async def failed(request: Request, wrong: Exception) -> Response:
        service.log.error("Service API: %s %s failed", request.method, request.url.path, exc_info=wrong)
        code = HubCode.ServerError
        return refusal(ServiceError(code.status, code.name, "leafgate has failed; its log says more"), service.now())

    app.add_exception_handler(GatewayError, refused)
    app.add_exception_handler(RequestValidationError, unreadable)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(Exception, failed)


_BAD_BODY = ServiceError(400, HubCode.DeserializationError.name, "The body is not JSON")
_HTTP = {
    404: ServiceError(404, "GenericNotFound", "There is no such resource"),
    405: ServiceError(405, "GenericMethodNotAllowed", "The resource does not know this method"),
}


def _what_is_wrong(wrong: RequestValidationError) -> ServiceError:
    """The first finding, with where it is and without the value, which may be a key."""
    first = wrong.errors()[0]
    if first["type"] == "json_invalid":
        return _BAD_BODY
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    return ServiceError(400, HubCode.ArgumentInvalid.name, f"{where}: {first['msg']}")
