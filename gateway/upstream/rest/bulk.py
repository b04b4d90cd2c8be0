"""`POST /devices`: up to a hundred changes of the registry at once.

Rule: each change stands alone: those that IoT Hub refuses are told in the answer, whose status is then 400, and the
others are made.
Sources: IoT Hub REST API, "Bulk Registry - Update Registry" and its definitions; IoT Hub documentation, "Import and
export IoT Hub device identities in bulk" (import modes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Response
from pydantic import AliasChoices, BeforeValidator, Field

from gateway.errors import HubCode, RegistryError, TwinRefusedError
from gateway.upstream.device import Device
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.devices import WRITE, create
from gateway.upstream.rest.identities import DeviceBody, ModuleBody, device_of, module_of
from gateway.upstream.rest.service import Asked, Service
from gateway.upstream.rest.twins import TwinBody, changes

router = APIRouter(tags=["devices"])
_MOST = 100  # "Bulk Registry - Update Registry"
Mode = Literal[
    "create", "update", "updateIfMatchETag", "delete", "deleteIfMatchETag", "updateTwin", "updateTwinIfMatchETag"
]
_ANY_CASE: Mapping[str, str] = {mode.lower(): mode for mode in get_args(Mode)}


def _mode(value: Any) -> Any:
    """IoT Hub reads an enumeration in any case; the Node.js SDK writes `Create`."""
    return _ANY_CASE.get(value.lower(), value) if isinstance(value, str) else value


class Item(DeviceBody, TwinBody):
    """One change: of a device, of a module when there is a moduleId, or of a twin."""

    id: str
    module_id: str | None = None
    managed_by: str | None = None
    import_mode: Annotated[Mode, BeforeValidator(_mode)] = "create"
    etag: str | None = Field(default=None, validation_alias=AliasChoices("eTag", "etag", "ETag"))
    twin_etag: str | None = Field(default=None, validation_alias=AliasChoices("twinETag", "twinEtag"))


@router.post("/devices", dependencies=[WRITE])
async def update_registry(asked: Asked, items: list[Item]) -> Response:
    """Make the changes in their order; BulkRegistryOperationResult tells what was refused."""
    if len(items) > _MOST:
        raise RegistryError(f"{len(items)} devices at once; {_MOST} is the most", code=HubCode.TooManyDevices)
    twice = {key for key, count in Counter((item.id, item.module_id) for item in items).items() if count > 1}
    errors = [error for item in items if (error := _try(asked, item, twice))]
    return reply({"isSuccessful": not errors, "errors": errors, "warnings": []}, 400 if errors else 200)


def _try(asked: Service, item: Item, twice: set[tuple[str, str | None]]) -> dict[str, Any] | None:
    if (item.id, item.module_id) in twice:
        return _error(item, "DeviceDefinedMultipleTimes", f"{item.id!r} is in the request more than once")
    try:
        _WORK[item.import_mode](asked, item)
    except (RegistryError, TwinRefusedError) as wrong:
        return _error(item, wrong.code.name, wrong.message)
    return None


def _error(item: Item, code: str, status: str) -> dict[str, Any]:
    module = {} if item.module_id is None else {"moduleId": item.module_id}
    return {"deviceId": item.id, **module, "errorCode": code, "errorStatus": status, "operation": item.import_mode}


def _create(asked: Service, item: Item) -> None:
    create(asked, _identity(asked, item))
    try:
        _change_twin(asked, item, None)
    except TwinRefusedError:
        asked.hub.remove(item.id, item.module_id)
        raise


def _update(asked: Service, item: Item, etag: str | None = None) -> None:
    asked.hub.registry.known(item.id, item.module_id)
    asked.hub.registry.update(_identity(asked, item), etag=etag)
    _change_twin(asked, item, None)


def _update_if_match(asked: Service, item: Item) -> None:
    _update(asked, item, item.etag or "")


def _delete(asked: Service, item: Item) -> None:
    asked.hub.remove(item.id, item.module_id)


def _delete_if_match(asked: Service, item: Item) -> None:
    asked.hub.remove(item.id, item.module_id, etag=item.etag or "")


def _update_twin(asked: Service, item: Item) -> None:
    _change_twin(asked, item, None)


def _update_twin_if_match(asked: Service, item: Item) -> None:
    _change_twin(asked, item, item.twin_etag or "")


_WORK: Mapping[str, Callable[[Service, Item], None]] = {
    "create": _create,
    "update": _update,
    "updateIfMatchETag": _update_if_match,
    "delete": _delete,
    "deleteIfMatchETag": _delete_if_match,
    "updateTwin": _update_twin,
    "updateTwinIfMatchETag": _update_twin_if_match,
}


def _identity(asked: Service, item: Item) -> Device:
    registry = asked.hub.registry
    if item.module_id is None:
        return device_of(item, item.id, registry)
    body = ModuleBody(managed_by=item.managed_by, authentication=item.authentication)
    return module_of(body, item.id, item.module_id, registry)


def _change_twin(asked: Service, item: Item, etag: str | None) -> None:
    client_id = asked.hub.registry.known(item.id, item.module_id).client_id
    tags, desired = changes(item, anew=False)
    asked.hub.twins.update(client_id, tags=tags, desired=desired, etag=etag)
