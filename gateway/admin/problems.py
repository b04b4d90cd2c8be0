"""What is answered when something is wrong: a JSON object with `message` and `hint`, whatever it was.

Rule: what a client got wrong is 400, and never FastAPI's own shape; nothing quotes what was sent but names of fields.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gateway.errors import GatewayError

API = "/api/v1"


class Problem(BaseModel):
    """Why a request was not answered as it was meant."""

    message: str
    hint: str | None = Field(description="what to do about it")


class RefusedError(Exception):
    """A request is answered with this status instead."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        self.status = status
        self.message = message
        self.hint = hint
        super().__init__(message)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route says in the OpenAPI document which of these it may answer."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def install(app: FastAPI) -> None:
    """Let the application answer in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(GatewayError, _failed)
    make = app.openapi

    def openapi() -> dict[str, Any]:
        return _without_422(make())

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change the document


def _answer(status: int, message: str, hint: str | None) -> JSONResponse:
    return JSONResponse({"message": message, "hint": hint}, status)


async def _invalid(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, RequestValidationError)
    errors = wrong.errors()
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    place, *names = (str(part) for part in first["loc"])
    name = ".".join(names)
    hint = f"{API}/openapi.json has the description of every field"
    if first["type"] == "json_invalid":
        return _answer(400, f"the body is no JSON: {first['ctx']['error']}", hint)
    if place == "body" and first["type"] in ("missing", "model_attributes_type") and not names:
        return _answer(400, "a JSON object is needed", "send it as the body, with Content-Type: application/json")
    if first["type"] == "extra_forbidden":
        return _answer(400, f"{name} is not known here", hint)
    said = first["msg"].removeprefix("Value error, ")
    return _answer(400, f"{name}: {said[:1].lower()}{said[1:]}" if name else said, hint)


async def _http(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, HTTPException)
    if wrong.status_code == HTTPStatus.NOT_FOUND:
        return _answer(404, f"there is nothing at {request.url.path}", f"{API}/openapi.json says what there is")
    if wrong.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _answer(405, f"{request.method} is not possible at {request.url.path}", None)
    return _answer(wrong.status_code, str(wrong.detail), None)


async def _refused(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, RefusedError)
    return _answer(wrong.status, wrong.message, wrong.hint)


async def _failed(request: Request, wrong: Exception) -> JSONResponse:
    assert isinstance(wrong, GatewayError)
    return _answer(getattr(wrong, "status", 500), wrong.message, wrong.hint)


def _without_422(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI announces an answer that is never given here."""
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(name, None)
    return document
