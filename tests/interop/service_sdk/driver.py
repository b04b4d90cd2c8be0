"""The Azure IoT Hub service SDK for Python, driven from outside: commands as JSON lines in, answers as JSON lines out.

Runs in the SDK's own environment and uses the SDK's public interface alone. A command is `{"id": 1, "do": "get_device",
...}`; its answer has the same id and a `value`, or `refused` when the hub did not do it.
"""

import json
import sys
from datetime import UTC, datetime

from azure.iot.hub import (
    DigitalTwinClient,
    IoTHubConfigurationManager,
    IoTHubHttpRuntimeManager,
    IoTHubJobManager,
    IoTHubRegistryManager,
)
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ExportImportDevice,
    JobRequest,
    QuerySpecification,
    Twin,
)
from msrest.exceptions import ClientRequestError, HttpOperationError


def plain(value):
    """What the SDK gave, as the REST API names it."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not hasattr(value, "serialize"):
        return value
    return {**(value.additional_properties or {}), **value.serialize(keep_readonly=True)}


class Driver:
    """One back end."""

    def connect(self, *, connection_string):
        """Take a connection string; nothing is opened."""
        self.registry = IoTHubRegistryManager.from_connection_string(connection_string)
        self.configurations = IoTHubConfigurationManager.from_connection_string(connection_string)
        self.jobs = IoTHubJobManager.from_connection_string(connection_string)
        self.runtime = IoTHubHttpRuntimeManager.from_connection_string(connection_string)
        self.twins = DigitalTwinClient.from_connection_string(connection_string)

    def _device(self, verb, proof, before, *further):
        kind, given = _proof(proof)
        call = getattr(self.registry, f"{verb}_device_with_{kind}")
        return call(*before, *given, *further)

    def create_device(self, *, device, proof, status="enabled", edge=False, reason=None, scope=None, parents=None):
        """Create a device of any kind."""
        return self._device("create", proof, [device], status, edge, reason, scope, parents)

    def update_device(
        self, *, device, etag="*", proof, status="enabled", edge=False, reason=None, scope=None, parents=None
    ):
        """Update it."""
        return self._device("update", proof, [device, etag], status, edge, reason, scope, parents)

    def get_device(self, *, device):
        """Read it."""
        return self.registry.get_device(device)

    def delete_device(self, *, device, etag=None):
        """Delete it."""
        return self.registry.delete_device(device, etag)

    def list_devices(self, *, top=None):
        """List them."""
        return self.registry.get_devices(top)

    def bulk(self, *, mode, devices):
        """Change many; `mode` is create, update, updateIfMatchETag, delete or deleteIfMatchETag."""
        items = [
            ExportImportDevice(id=one["deviceId"], e_tag=one.get("etag"), status=one.get("status"), import_mode=mode)
            for one in devices
        ]
        return self.registry.bulk_create_or_update_devices(items)

    def create_module(self, *, device, module, proof, managed_by=None):
        """Create a module of any kind."""
        kind, given = _proof(proof)
        return getattr(self.registry, f"create_module_with_{kind}")(device, module, managed_by, *given)

    def update_module(self, *, device, module, proof, managed_by=None, etag="*"):
        """Update it."""
        kind, given = _proof(proof)
        return getattr(self.registry, f"update_module_with_{kind}")(device, module, managed_by, etag, *given)

    def get_module(self, *, device, module):
        """Read it."""
        return self.registry.get_module(device, module)

    def list_modules(self, *, device):
        """List them."""
        return self.registry.get_modules(device)

    def delete_module(self, *, device, module, etag=None):
        """Delete it."""
        return self.registry.delete_module(device, module, etag)

    def get_twin(self, *, device, module=None):
        """Read a twin."""
        return self.registry.get_module_twin(device, module) if module else self.registry.get_twin(device)

    def patch_twin(self, *, device, module=None, twin, etag=None):
        """Merge into it."""
        patch = Twin.from_dict(twin)
        if module:
            return self.registry.update_module_twin(device, module, patch, etag)
        return self.registry.update_twin(device, patch, etag)

    def replace_twin(self, *, device, module=None, twin, etag=None):
        """Replace it."""
        whole = Twin.from_dict(twin)
        if module:
            return self.registry.replace_module_twin(device, module, whole, etag)
        return self.registry.replace_twin(device, whole, etag)

    def query(self, *, text, size=None):
        """All results, and how many came in each page."""
        pages, token = [], None
        while True:
            result = self.registry.query_iot_hub(QuerySpecification(query=text), token, size)
            pages.append(plain(result.items))
            token = result.continuation_token
            if not token:
                return {"pages": pages, "type": result.type}

    def method(self, *, device, module=None, name, **given):
        """Call a method."""
        request = CloudToDeviceMethod(method_name=name, **given)
        if module:
            return self.registry.invoke_device_module_method(device, module, request)
        return self.registry.invoke_device_method(device, request)

    def statistics(self):
        """Count devices."""
        return self.registry.get_device_registry_statistics()

    def service_statistics(self):
        """Count connections."""
        return self.registry.get_service_statistics()

    def feedback(self):
        """Receive feedback."""
        return self.runtime.receive_feedback_notification()

    def create_configuration(self, *, configuration):
        """Create a configuration."""
        return self.configurations.create_configuration(Configuration.from_dict(configuration))

    def get_configuration(self, *, name):
        """Read it."""
        return self.configurations.get_configuration(name)

    def update_configuration(self, *, configuration, etag):
        """Update it; here alone the SDK leaves it to its user to put the ETag into quotes."""
        return self.configurations.update_configuration(Configuration.from_dict(configuration), f'"{etag}"')

    def list_configurations(self):
        """List them."""
        return self.configurations.get_configurations()

    def delete_configuration(self, *, name):
        """Delete it."""
        return self.configurations.delete_configuration(name)

    def apply(self, *, device, content):
        """Set the modules of an edge device."""
        return self.configurations.apply_configuration_on_edge_device(device, ConfigurationContent.from_dict(content))

    def schedule_twin_update(self, *, job, condition, twin):
        """Start a job that changes twins."""
        request = JobRequest(
            job_id=job,
            type="scheduleUpdateTwin",
            update_twin=Twin.from_dict(twin),
            query_condition=condition,
            start_time=datetime.now(UTC),
            max_execution_time_in_seconds=60,
        )
        return self.jobs.create_scheduled_job(job, request)

    def get_job(self, *, job):
        """Read it."""
        return self.jobs.get_scheduled_job(job)

    def digital_twin(self, *, device):
        """Read a digital twin."""
        return self.twins.get_digital_twin(device)


def _proof(proof):
    """The ending of the SDK's call, and its arguments."""
    if "keys" in proof:
        return "sas", proof["keys"]
    if "thumbprints" in proof:
        return "x509", proof["thumbprints"]
    return "certificate_authority", []


def answer(driver, command):
    """Do a command."""
    number, do = command.pop("id"), command.pop("do")
    for unused in ("client", "deadline"):
        command.pop(unused)
    try:
        return {"event": "done", "id": number, "value": plain(getattr(driver, do)(**command))}
    except HttpOperationError as wrong:
        said = {"kind": type(wrong).__name__, "status": wrong.response.status_code, "body": wrong.response.text}
        return {"event": "done", "id": number, "refused": said}
    except ClientRequestError as wrong:
        return {"event": "done", "id": number, "refused": {"kind": type(wrong).__name__, "body": str(wrong)}}
    except Exception as wrong:  # noqa: BLE001 - a driver goes on and tells
        return {"event": "error", "id": number, "chain": [[type(wrong).__name__, str(wrong)]]}


def say(event):
    """Write one line."""
    sys.stdout.write(json.dumps(event, default=str) + "\n")
    sys.stdout.flush()


def main():
    """Do commands until there are no more."""
    driver = Driver()
    say({"event": "ready"})
    for line in sys.stdin:
        say(answer(driver, json.loads(line)))


main()
