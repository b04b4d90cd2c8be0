"""The API's own description, as OpenAPI.

Rule: it says what is answered. What the framework writes of itself and never happens here (422) is taken out; what
stands before every call (token, api-version) and IoT Hub's errors are put in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

API_VERSION = "2021-04-12"
#: published ones of the service API (IoT Hub REST API reference); all are answered as the newest
API_VERSIONS = (
    "2018-06-30",
    "2019-07-01-preview",
    "2019-10-01",
    "2020-03-13",
    "2020-05-31-preview",
    "2020-09-30",
    API_VERSION,
)
_TOKEN = "sharedAccessSignature"  # noqa: S105 - the name of a scheme
_ERROR = "Error"
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
_VERSION = {
    "name": "api-version",
    "in": "query",
    "required": True,
    "schema": {"type": "string", "enum": list(API_VERSIONS)},
}
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {"Message": {"type": "string"}, "ExceptionMessage": {"type": "string"}},
    "description": "Message begins with ErrorCode:NAME; the header iothub-errorcode has the name too. For a method "
    "that nobody answers it is JSON in a text; a module that exists already is told by errorCode and message.",
}
_REFUSED = {
    "description": "IoT Hub refuses the call",
    "headers": {"iothub-errorcode": {"schema": {"type": "string"}}},
    "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_ERROR}"}}},
}


def complete(document: dict[str, Any]) -> None:
    """Make the framework's description of the calls one of this API."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    schemas[_ERROR] = _ERROR_SCHEMA
    components["securitySchemes"] = {
        _TOKEN: {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "SharedAccessSignature sr=HUB&sig=...&se=SECONDS&skn=POLICY",
        }
    }
    document["security"] = [{_TOKEN: []}]
    for operation in _operations(document):
        operation["responses"].pop("422", None)
        operation["responses"]["default"] = _REFUSED
        operation.setdefault("parameters", []).append(_VERSION)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()
