"""Devices and modules that IoT Hub knows, and their keys.

Rule: keys leave this module only to be compared (as a ServiceIdentity), to be put into a connection string or IoT Hub's
own JSON, or into the keeper's file, which is readable by its owner alone. A change is kept before it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.clock import SystemClock
from gateway.errors import HubCode, RegistryError, StoreError
from gateway.hub.service_identity import Authentication, ServiceIdentity
from gateway.observers import Observers
from gateway.upstream import etags
from gateway.upstream.device import Device, check_facts, check_ids, new_etag, new_generation, with_keys
from gateway.upstream.keeper import Change, ForgetfulKeeper, Keeper, encode
from gateway.upstream.registryfile import DEVICE
from gateway.upstream.scopes import Key, Scopes


class Registry:
    """The identity registry of the hub `hub_hostname`; every change is kept with `keeper`.

    `edge_device_id` is the gateway's own edge device, which is registered with its module $edgeHub.
    """

    def __init__(
        self,
        keeper: Keeper | None = None,
        *,
        edge_device_id: str = "",
        hub_hostname: str = "",
        now: Callable[[], float] | None = None,
    ) -> None:
        self._keeper = keeper or ForgetfulKeeper()
        self.hub_hostname = hub_hostname
        self._now = now or SystemClock().now
        self._devices: dict[Key, Device] = {}
        self._modules: dict[str, dict[str, None]] = {}  # of each device, in the order of registration
        self.scopes = Scopes(self._devices, edge_device_id)
        self._observers = Observers[[bool, Device]]("the registry")
        self.load()

    def load(self) -> None:
        """Read anew what is kept, and register the gateway if it is not. Raises StoreError or RegistryError."""
        self._devices.clear()
        self._modules.clear()
        try:
            for fields in self._keeper.load(DEVICE).values():
                self._keep(Device.from_json(fields))
        except (ValueError, KeyError, TypeError) as wrong:
            # Only the kind of error: its text may quote a key.
            hint = "move hub.db out of the --state folder to start without it; it was not changed"
            raise StoreError(f"an entry of the registry cannot be read: {type(wrong).__name__}", hint) from None
        if self.edge_device_id:
            self._register_gateway(self.edge_device_id)

    def _register_gateway(self, device_id: str) -> None:
        known = self.get(device_id)
        if known is None:
            self.add(Device(device_id, edge=True, parent=None))
        elif not known.edge:
            hint = "give the gateway's edge device an id of its own"
            raise RegistryError(f"{device_id!r} is registered as a device that is no edge device", hint)
        if self.get(device_id, "$edgeHub") is None:
            self.add(Device(device_id, "$edgeHub"))

    @property
    def edge_device_id(self) -> str:
        """The gateway's own edge device."""
        return self.scopes.edge_device_id

    @edge_device_id.setter
    def edge_device_id(self, device_id: str) -> None:
        self.scopes.edge_device_id = device_id

    def __contains__(self, device_id: object) -> bool:
        return (device_id, None) in self._devices

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(tuple(self._devices.values()))

    def get(self, device_id: str, module_id: str | None = None) -> Device | None:
        """The device or module, if it is registered."""
        return self._devices.get((device_id, module_id))

    def known(self, device_id: str, module_id: str | None = None) -> Device:
        """The device or module. Raises RegistryError (404) when it is not registered."""
        found = self.get(device_id, module_id)
        if found is not None:
            return found
        if module_id is None or device_id not in self:
            raise RegistryError(f"{device_id!r} is not registered", code=HubCode.DeviceNotFound)
        raise RegistryError(f"module {module_id!r} of {device_id!r} is not registered", code=HubCode.ModuleNotFound)

    def modules(self, device_id: str) -> tuple[Device, ...]:
        """The modules of a device, in the order of registration."""
        return tuple(self._devices[(device_id, name)] for name in self._modules.get(device_id, ()))

    # -- changes ------------------------------------------------------------------------------------------------------

    def add(self, device: Device, *, x509: bool = False) -> Device:
        """Register a device or module; keys that are missing are made, unless it authenticates by certificate.

        Raises RegistryError: 400 for what IoT Hub does not take, 404 for a module's device, 409 for a taken id.
        """
        check_ids(device)
        if (device.device_id, device.module_id) in self._devices:
            code = HubCode.DeviceAlreadyExists if device.module_id is None else HubCode.ModuleAlreadyExistsOnDevice
            raise RegistryError(f"{device.client_id!r} is registered already", "choose another id", code)
        if device.module_id is not None and device.device_id not in self:
            lost = f"module {device.module_id!r} belongs to {device.device_id!r}, which is not registered"
            raise RegistryError(lost, code=HubCode.DeviceNotFound)
        if x509 and not device.thumbprints:
            device = replace(device, authentication=Authentication.SELF_SIGNED.value)
        self._check(device)
        complete = with_keys(device) if device.authentication == Authentication.SAS else device
        added = self._put(replace(complete, generation_id=device.generation_id or new_generation()))
        self._observers.tell(True, added)
        return added

    def update(self, device: Device, *, etag: str | None = None) -> Device:
        """Replace what is known of a registered device or module, if `etag` (as in If-Match) is still its own.

        Keys are made when it authenticates by them and has none. Raises RegistryError: 404, 412, 400.
        """
        known = self._unchanged(device.device_id, device.module_id, etag)
        self._check(device)
        if device.authentication == Authentication.SAS and not device.primary_key and not device.secondary_key:
            device = with_keys(device)
        updated = known.status_updated if device.enabled is known.enabled else self._now()
        return self._put(replace(device, generation_id=known.generation_id, status_updated=updated))

    def remove(
        self,
        device_id: str,
        module_id: str | None = None,
        *,
        etag: str | None = None,
        along: Callable[[Sequence[str]], Iterable[Change]] = lambda _: (),
    ) -> tuple[str, ...]:
        """Forget a device with its modules, or one module, if `etag` (as in If-Match) is still its own.

        Its children have no parent any more. `along` says what else is forgotten of the client ids that go, in the same
        step. Returns these ids. Raises RegistryError: 404, 412; StoreError.
        """
        known = self._unchanged(device_id, module_id, etag)
        gone = [*(self.modules(device_id) if module_id is None else ()), known]
        ids = tuple(device.client_id for device in gone)
        orphans = [_anew(replace(child, parent=None)) for child in self.scopes.children(known) if known.edge]
        forgotten: list[Change] = [(DEVICE, client_id, None) for client_id in ids]
        self._keeper.write([*map(_document, orphans), *forgotten, *along(ids)])
        for orphan in orphans:
            self._keep(orphan)
        for device in gone:
            self._drop((device.device_id, device.module_id))
            self._observers.tell(False, device)
        return ids

    def subscribe(self, observer: Callable[[bool, Device], None]) -> Callable[[], None]:
        """Call `observer` with each device or module that is created (True) or deleted; the answer ends that."""
        return self._observers.subscribe(observer)

    def _unchanged(self, device_id: str, module_id: str | None, etag: str | None) -> Device:
        known = self.known(device_id, module_id)
        if not etags.matches(etag, known.etag):
            hint = "read it again, and make the change to what it is now"
            raise RegistryError(f"{known.client_id!r} has been changed meanwhile", hint, HubCode.PreconditionFailed)
        return known

    def _check(self, device: Device) -> None:
        check_facts(device)
        self.scopes.check_parent(device)

    # -- what the Edge Hub may know ---------------------------------------------------------------------------------

    def service_identity(self, client_id: str) -> ServiceIdentity | None:
        """The identity of a device or module, whether it is in the gateway's scope or not."""
        device_id, slash, module_id = client_id.partition("/")
        found = self.get(device_id, module_id if slash else None)
        return None if found is None else self.scopes.identity(found)

    def in_scope(self, client_id: str) -> ServiceIdentity | None:
        """The identity of a device or module that hangs below the gateway, however deep."""
        device = self.get(client_id.partition("/")[0])
        return self.service_identity(client_id) if device is not None and self.scopes.is_inside(device) else None

    def scope(self) -> list[ServiceIdentity]:
        """Every identity in the gateway's scope: its own device, what hangs below it, and all their modules."""
        inside = filter(self.scopes.is_inside, self._devices.values())
        return [identity for identity in map(self.scopes.identity, inside) if identity is not None]

    def identity_json(self, device_id: str, module_id: str | None = None) -> dict[str, Any] | None:
        """A device or module as IoT Hub's REST API shows it, keys included; None when it is not registered.

        What the registry does not know, `connectionState` and what goes with it, is not there.
        """
        found = self.get(device_id, module_id)
        identity = self.scopes.identity(found) if found is not None else None
        if found is None or identity is None:
            return None
        shown = identity.to_json() | {"etag": found.etag}
        if module_id is not None:
            kept = ("deviceId", "moduleId", "generationId", "etag", "authentication")
            return {name: shown[name] for name in kept} | {"managedBy": found.managed_by}
        return shown | {
            "status": "enabled" if found.enabled else "disabled",
            "statusReason": found.status_reason,
            "statusUpdatedTime": iot_hub_time(found.status_updated),
        }

    # -- what is kept -------------------------------------------------------------------------------------------------

    def _put(self, device: Device) -> Device:
        device = _anew(device)
        self._keeper.write([_document(device)])
        self._keep(device)
        return device

    def _keep(self, device: Device) -> None:
        self._devices[(device.device_id, device.module_id)] = device
        if device.module_id is not None:
            self._modules.setdefault(device.device_id, {})[device.module_id] = None

    def _drop(self, key: Key) -> None:
        self._devices.pop(key, None)
        if key[1] is None:
            self._modules.pop(key[0], None)
        else:
            self._modules.get(key[0], {}).pop(key[1], None)


def _anew(device: Device) -> Device:
    return replace(device, etag=new_etag())


def _document(device: Device) -> Change:
    return DEVICE, device.client_id, encode(device.to_json())


def iot_hub_time(moment: float) -> str:
    """Seconds since 1970 UTC as IoT Hub writes them; 0 is never, .NET's earliest time."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.%f}0Z" if moment else "0001-01-01T00:00:00Z"
