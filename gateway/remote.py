"""A running gateway, from another process: where it is found, and what is asked of it over HTTP.

Rule: proxies of the environment are not used, for a gateway is on this machine or named by its address; whoever cannot
be reached is exit code 3.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from gateway import runtime
from gateway.errors import GatewayError

API = "/api/v1"
TOKEN = "LEAFGATE_ADMIN_TOKEN"  # noqa: S105 - the name of the variable
_TIMEOUT = 60.0  # seconds; a clock that is moved answers when a restart is over
_CONNECT_TIMEOUT = 5.0


class UnreachableError(GatewayError):
    """No gateway answers."""


class RefusedError(GatewayError):
    """The gateway does not do what it was asked."""

    exit_code = 1


class Address(NamedTuple):
    """Where a gateway is found, and what it wants to see."""

    url: str
    token: str | None = None


def find(ready: Path | None, url: str | None) -> Address:
    """The gateway at `url`, the one of a ready file, or the newest one of this user. Raises GatewayError."""
    token = os.environ.get(TOKEN)
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise _usage(f"{url!r} is no address of a gateway", "write it as in http://127.0.0.1:8080")
        return Address(url.rstrip("/").removesuffix(API), token)
    if ready is not None:
        return _address(_facts(ready), f"the gateway of {ready}", token)
    for facts in runtime.running():
        return _address(facts, "the running gateway", token)
    hint = "start one with `leafgate up`, or name it with --ready FILE or --url"
    raise UnreachableError("no running gateway was found", hint)


def _facts(path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreachableError(f"there is no ready file {path}", "the gateway has not started, or stopped") from None
    except OSError as wrong:
        raise _usage(f"cannot read {path}: {wrong.strerror}", None) from None
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise _usage(f"{path} is no ready file", "it is what `leafgate up --ready-file` writes")
    return facts


def _address(facts: Mapping[str, Any], what: str, token: str | None) -> Address:
    url = facts.get("admin_url")
    if not isinstance(url, str):
        raise UnreachableError(f"{what} has no HTTP interface", "its log says why; choose another --admin-port")
    return Address(url, token or facts.get("admin_token"))


def _usage(message: str, hint: str | None) -> GatewayError:
    error = GatewayError(message, hint)
    error.exit_code = 2
    return error


class Remote:
    """Asks a gateway; a context manager."""

    def __init__(self, address: Address) -> None:
        self.address = address
        headers = {} if address.token is None else {"Authorization": f"Bearer {address.token}"}
        self._client = httpx.Client(
            base_url=f"{address.url}{API}",
            headers=headers,
            timeout=httpx.Timeout(_TIMEOUT, connect=_CONNECT_TIMEOUT),
            trust_env=False,
        )

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *failure: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Ask; parameters that are None are left out. Raises GatewayError."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Tell. Raises GatewayError."""
        return self._ask("POST", path, json=document)

    def _ask(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        with self._reaching():
            answer = self._client.request(method, path, **what)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreachableError(f"{self.address.url} is no gateway", "look at its address again")
        if answer.is_success:
            return document
        message = document.get("message") or document.get("Message") or f"status {answer.status_code}"
        error = RefusedError(str(message), document.get("hint"))
        if answer.status_code == httpx.codes.BAD_REQUEST:
            error.exit_code = 2
        raise error

    def follow(self, after: int | str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """Pages of the feed as they come, without end."""
        while True:
            page = self.get("/feed", after=after, wait=1, **wanted)
            after = page["next"]
            if page["events"] or page.get("missed"):
                yield page

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as wrong:
            reason = str(wrong) or type(wrong).__name__
            hint = "is it running? `leafgate up` prints where"
            raise UnreachableError(f"no gateway answers at {self.address.url}: {reason}", hint) from None
