"""What a back end does with a gateway and its devices: registrations, methods, messages, twins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certs import Chain
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.faults import Faults
from gateway.hub.authchain import EDGE_HUB
from gateway.hub.messages import InputMessage
from gateway.hub.methods import MethodResult
from gateway.hub.service_identity import Authentication
from gateway.ports import in_url, is_everywhere
from gateway.process import EdgeProcess
from gateway.store.folder import StateFolder
from gateway.upstream import Device, Registry
from gateway.upstream.calls import method_call
from gateway.upstream.device import THIS_GATEWAY
from gateway.upstream.hub import IotHub, settle
from gateway.upstream.policies import Policies

if TYPE_CHECKING:
    from gateway.upstream.parent.hub import ParentHub


class BackEnd:
    """The cloud's side of a Gateway, which is the only subclass."""

    chain: Chain
    bind: str
    hub_hostname: str
    edge_device_id: str
    clock: Clock
    log: logging.Logger
    upstream: IotHub
    faults: Faults
    parent: ParentHub | None = None  # the gateway above; `upstream` has nothing to say then
    _folder: StateFolder
    _registry: Registry | None
    _policies: Policies | None = None
    _process: EdgeProcess | None

    @property
    def hostname(self) -> str:
        """The name that leaves use for the gateway (GatewayHostName)."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether Edge Hub takes connections."""
        raise NotImplementedError

    async def settled(self) -> None:
        """Wait until everything that is due by the clock, a restart say, has been done."""
        raise NotImplementedError

    @property
    def process(self) -> EdgeProcess | None:
        """Edge Hub as it runs; None while it is down. For the gateway's own use."""
        return self._process

    @property
    def connected_clients(self) -> int:
        """How many devices and modules are connected."""
        return 0 if self._process is None else len(self._process.edge.clients)

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages Edge Hub has dropped since it started, by reason: "no_route" and "ttl_expiry"."""
        return {} if self._process is None else dict(self._process.forwarder.dropped)

    @property
    def queue_lengths(self) -> dict[tuple[str, int], int]:
        """How many messages wait, by endpoint ("$upstream" or "module/input") and priority. Raises StoreError."""
        return {} if self._process is None else self._process.forwarder.queue_lengths()

    @property
    def connected(self) -> tuple[str, ...]:
        """The client ids of those."""
        return () if self._process is None else tuple(client.id for client in self._process.edge.clients)

    @property
    def registry(self) -> Registry:
        """Devices and modules that may connect; GatewayError below another gateway: they are registered there."""
        self._refuse_below("devices are registered")
        if self._registry is None:
            self._registry = Registry(
                self.upstream.keeper,
                edge_device_id=self.edge_device_id,
                hub_hostname=self.hub_hostname,
                now=self.clock.now,
            )
            self._registry.subscribe(self.upstream.notifications.registry_changed)
        return self._registry

    @property
    def hub_port(self) -> int | None:
        """The port of the cloud's service API; None when there is none."""
        raise NotImplementedError

    @property
    def hub_root_ca(self) -> Path | None:
        """The PEM file that a client of the cloud's service API has to trust; None when there is none."""
        return None if self.hub_port is None else self._folder.hub_root_ca

    @property
    def hub_names(self) -> tuple[str, ...]:
        """By which names, beside localhost, a back end may reach the service API: its own, and where the gateway is."""
        bind = f"[{self.bind}]" if ":" in self.bind else self.bind
        return tuple(name.lower() for name in (self.hub_hostname, self.hostname, bind))

    def trust_hub(self, root_pem: bytes) -> None:
        """Write that file; for the gateway's own use. Raises GatewayError."""
        self._folder.write_hub_root(root_pem)

    @property
    def policies(self) -> Policies:
        """Who may use the cloud's service API."""
        if self._policies is None:
            self._policies = Policies({"localhost", "127.0.0.1", *self.hub_names}, self._folder.policies)
        return self._policies

    def service_connection_string(self, policy: str = "iothubowner", *, named: bool = False) -> str:
        """The connection string of a back end, for this machine and port, or (`named`) with the hub's name alone.

        Raises GatewayError for a policy that does not exist, and when there is no service API.
        """
        if self.hub_port is None:
            raise GatewayError("the gateway has no service API", "give it a port: hub_port=0 takes any free one")
        here = "localhost" if is_everywhere(self.bind) or self.bind == "127.0.0.1" else in_url(self.bind)
        host = self.hub_hostname if named else f"{here}:{self.hub_port}"
        return f"HostName={host};SharedAccessKeyName={policy};SharedAccessKey={self.policies.key(policy)}"

    def _open_cloud(self) -> None:
        """Use what the cloud has kept, alone from now on; not below another gateway. StoreError or RegistryError."""
        if self.parent is not None:
            return
        if self.upstream.open() and self._registry is not None:
            self._registry.load()
        assert self.registry is not None

    def add_device(
        self,
        device_id: str,
        *,
        authentication: str = "",
        primary_key: str = "",
        secondary_key: str = "",
        thumbprints: Sequence[str] = (),
        enabled: bool = True,
        edge: bool = False,
        parent: str | None = THIS_GATEWAY,
    ) -> Device:
        """Register a device; keys are made unless given (base64).

        `authentication` is "sas", "selfSigned" (with `thumbprints`), "certificateAuthority" or "none". The device is a
        child of this gateway, or of the edge device `parent`; with None it is out of scope. `edge` makes it an edge
        device with a module $edgeHub, which a gateway below this one is.
        """
        device = Device(
            device_id,
            primary_key=primary_key,
            secondary_key=secondary_key,
            thumbprints=tuple(thumbprints),
            enabled=enabled,
            authentication=authentication,
            edge=edge,
            parent=parent,
        )
        added = self.registry.add(device)
        if added.edge:
            self.registry.add(Device(device_id, EDGE_HUB, managed_by="iotEdge"))
        return added

    def remove_device(self, device_id: str, module_id: str | None = None) -> None:
        """Delete a device with its modules, or one module, with its twin and the messages that wait for it.

        A connected client stays until the gateway refreshes its device scope. Raises RegistryError.
        """
        self.upstream.remove(device_id, module_id)

    def refresh_scope(self) -> None:
        """Let the gateway ask IoT Hub now for everything in its device scope."""
        if self._process is not None:
            self._process.gatekeeper.refresh()

    def connection_string(self, device_id: str, module_id: str | None = None) -> str:
        """The connection string of a device or module, which is registered if it is new."""
        for name in (None, module_id) if module_id is not None else (None,):
            if self.registry.get(device_id, name) is None:
                self.registry.add(Device(device_id, name))
        found = self.registry.get(device_id, module_id)
        assert found is not None
        module = f";ModuleId={module_id}" if module_id is not None else ""
        proof = f"SharedAccessKey={found.primary_key}" if found.authentication == Authentication.SAS else "x509=true"
        return f"HostName={self.hub_hostname};DeviceId={device_id}{module};{proof};GatewayHostName={self.hostname}"

    async def invoke_method(
        self,
        device_id: str,
        name: str,
        payload: Any = None,
        *,
        module_id: str | None = None,
        response_timeout: float = 30.0,
        connect_timeout: float = 0.0,
    ) -> MethodResult:
        """Call a direct method of a device or module from the cloud and wait for the answer; timeouts in seconds.

        The result has the client's `status` and `json()` with `http_status` 200; 404 says that it was not there
        within `connect_timeout`, 504 that it did not answer. Raises GatewayError for what IoT Hub would not send.
        """
        self._refuse_below("methods are called from the cloud")
        client_id = device_id if module_id is None else f"{device_id}/{module_id}"
        return await self.upstream.invoke(method_call(client_id, name, payload, response_timeout, connect_timeout))

    async def send_to_input(
        self,
        device_id: str,
        module_id: str,
        input_name: str,
        body: bytes,
        *,
        properties: Mapping[str, str] | None = None,
        system_properties: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message to a module's input and wait until the module has acknowledged it.

        Raises GatewayError when it is not connected, has not subscribed, or does not acknowledge in time.
        """
        if self._process is None:
            raise GatewayError("the gateway is not running")
        arrived: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        message = InputMessage(input_name, body, properties or {}, system_properties or {})
        self._process.edge.send_to_input(f"{device_id}/{module_id}", message, settle(arrived))
        if not await arrived:
            hint = "it has to be connected and to have subscribed to its inputs"
            raise GatewayError(f"module {device_id}/{module_id} did not take the message for input {input_name}", hint)

    def _refuse_below(self, what: str) -> None:
        if self.parent is not None:
            top = f"at the top of the hierarchy, above {self.parent.parent.hostname}"
            raise GatewayError(f"{self.hostname} is below another gateway: {what} {top}", "ask the gateway at the top")

    def push_reported(self) -> None:
        """Send reported properties up now, instead of once in five seconds."""
        if self._process is not None:
            self._process.edge.settle()
