"""Direct methods over HTTPS: a module of the edge device calls a method of a device or module below it.

Rule: the order of the checks is the product's: the body, then the header that names the caller, then whether the
caller belongs to this edge device, then its credentials.
Sources: TwinsController.cs, HttpRequestAuthenticator.cs, HttpContextExtensions.cs, MethodRequest.cs,
MethodRequestValidator.cs and ExceptionFilter.cs of Azure/iotedge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn
from urllib.parse import unquote, unquote_plus

from gateway.broker.carrier import Host
from gateway.broker.report import Report
from gateway.broker.routes import JSON, HttpAnswer, HttpRequest, Reply, failure, text
from gateway.hub.auth import TokenFault
from gateway.hub.connect import ConnackCode, Connect, Verdict
from gateway.hub.methods import MethodCall, MethodResult

CALLER: Final = "x-ms-edge-moduleId"
LARGEST_PAYLOAD: Final = 128 * 1024
LONGEST_NAME: Final = 100
_SLACK = 60.0  # seconds on top of a call's own timeouts
_API_VERSION = "2018-06-30"
_UNREADABLE = "Value cannot be null. (Parameter 'methodRequest')"
_SIGNATURE = "Cannot parse SharedAccessSignature because of the following error - "
IN_TOKEN = {
    TokenFault.MALFORMED: _SIGNATURE + "Malformed signature",
    TokenFault.EXPIRED: _SIGNATURE + "The specified SAS token is expired",
}

Judge = Callable[[Connect, Sequence[bytes], Callable[[Verdict], None]], None]
Invoke = Callable[[MethodCall, Callable[[MethodResult], None], str], None]


class BadCallError(ValueError):
    """The request cannot be a method call; the message is the product's."""


class MethodCalls:
    """Takes the calls of one gateway; `invoke` makes them."""

    def __init__(self, *, edge_device_id: str, hub_hostname: str, judge: Judge, invoke: Invoke, report: Report) -> None:
        self._edge_device_id = edge_device_id
        self._hub_hostname = hub_hostname
        self._judge = judge
        self._invoke = invoke
        self._report = report

    def call(self, request: HttpRequest, target: tuple[str, str | None], host: Host, reply: Reply) -> float:
        """See MethodEndpoint."""
        if not _is_json(request):
            reply(HttpAnswer(415))
            return 0
        try:
            call = read_call(request.body, target)
        except BadCallError as wrong:
            reply(text(400, str(wrong)))
            return 0
        caller = _caller(request)
        if caller is None:
            reply(failure(400, f"Invalid header value for {CALLER}"))
        elif caller[0] != self._edge_device_id:
            reply(failure(401, "Only modules on the same device can invoke DirectMethods"))
        else:
            self._authenticate(request, f"{caller[0]}/{caller[1]}", host, call, reply)
            return call.connect_timeout + call.response_timeout + _SLACK
        return 0

    def _authenticate(self, request: HttpRequest, caller: str, host: Host, call: MethodCall, reply: Reply) -> None:
        certificates, password = host.certificates(), None
        if not certificates:  # over HTTP the certificate wins, unlike in CONNECT
            password, wrong = authorization(request)
            if wrong is not None:
                self._report.unauthorized(host, caller, wrong, wrong)
                reply(failure(401, wrong))
                return

        def judged(verdict: Verdict) -> None:
            if verdict.code is ConnackCode.ACCEPTED:
                self._invoke(call, lambda result: reply(_answer(result)), caller)
                return
            reason = verdict.reason
            fault = reason if isinstance(reason, TokenFault) else None
            message = IN_TOKEN.get(fault) if fault is not None else None
            message = message or f"Unable to authenticate device with Id {caller}"
            self._report.unauthorized(host, caller, message, reason)
            reply(failure(401, message))

        username = f"{self._hub_hostname}/{caller}/?api-version={_API_VERSION}"
        self._judge(Connect(caller, username, password, True, 0, None), certificates, judged)


def read_call(body: bytes, target: tuple[str, str | None]) -> MethodCall:
    """Read the JSON body of a call for (device id, module id) as they are in the path. Raises BadCallError."""
    # ASP.NET has unescaped the path once when the controller unescapes again, with + for a blank.
    names = [unquote_plus(unquote(name)) for name in target if name is not None]
    for name, parameter in zip(names, ("deviceId", "moduleId"), strict=False):
        _require_text(name, parameter)
    fields = _fields(body)
    method = fields.get("methodname")
    if not isinstance(method, str):
        raise BadCallError(_UNREADABLE)
    _require_text(method, "MethodName")
    if len(method) > LONGEST_NAME:
        raise BadCallError(f"MethodName cannot be longer than {LONGEST_NAME}")
    connect = _seconds(fields.get("connecttimeoutinseconds"), 0)
    if not 0 <= connect <= 300:
        _out_of_range("ConnectTimeout has to be between 0 and 300 seconds.")
    response = _seconds(fields.get("responsetimeoutinseconds"), 30)
    if not 5 <= response <= 300:
        _out_of_range("ResponseTimeout has to be between 5 and 300 seconds.")
    payload = _compact(fields.get("payload"))
    if len(payload) > LARGEST_PAYLOAD:
        raise BadCallError(f"Payload should not be greater than {LARGEST_PAYLOAD} bytes.")
    return MethodCall("/".join(names), method, payload, float(response), float(connect))


def _require_text(value: str, parameter: str) -> None:
    if not value.strip():
        raise BadCallError(f"{parameter} is null or whitespace.")


def _out_of_range(what: str) -> NoReturn:
    raise BadCallError(f"Specified argument was out of the range of valid values. (Parameter '{what}')")


def _fields(body: bytes) -> dict[str, Any]:
    """The members of the body by their names in lower case: Newtonsoft.Json does not look at case."""
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadCallError(_UNREADABLE) from None
    if not isinstance(found, dict):
        raise BadCallError(_UNREADABLE)
    return {name.lower(): value for name, value in found.items()}


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _seconds(value: Any, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not math.isfinite(value):
        raise BadCallError(_UNREADABLE)
    return value


def _compact(payload: Any) -> bytes:
    """The payload as the product passes it on: written anew, without white space."""
    try:
        return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair cannot be written as it is
        return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadCallError(_UNREADABLE) from None


def _is_json(request: HttpRequest) -> bool:
    kinds = [value.partition(";")[0].strip().lower() for value in request.values("content-type")]
    return len(kinds) == 1 and (
        kinds[0] in ("application/json", "text/json") or (kinds[0].startswith("application/") and "+json" in kinds[0])
    )


def _caller(request: HttpRequest) -> tuple[str, str] | None:
    """The `device/module` that the caller says it is."""
    values = request.values(CALLER.lower())
    device, slash, module = (values[0] if values else "").lstrip("/").partition("/")
    module = module.lstrip("/")
    return (device, module) if slash and module else None


def authorization(request: HttpRequest) -> tuple[bytes | None, str | None]:
    """The token in the Authorization header, or what is wrong."""
    values = request.values("authorization")
    names = [unquote_plus(pair.partition("=")[0]).lower() for pair in request.query.split("&")]
    if not values or "authorization" in names:  # the product looks for it in the query, and then refuses it there
        return None, "Authorization header missing"
    if len(values) != 1:
        return None, "Invalid authorization header count"
    if not values[0].lower().startswith("sharedaccesssignature"):
        return None, "Invalid Authorization header. Only SharedAccessSignature is supported."
    return values[0].encode(), None


def _answer(result: MethodResult) -> HttpAnswer:
    if result.http_status != 200:
        return failure(result.http_status, result.message)
    # The client's own text goes in as it is, JSON or not.
    payload = result.payload.decode(errors="replace") or "null"
    return HttpAnswer(200, f'{{"status":{result.status or 0},"payload":{payload}}}'.encode(), JSON)
