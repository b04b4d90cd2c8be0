"""The Azure IoT device SDK for Python, driven from outside: commands as JSON lines in, events as JSON lines out.

Runs in the SDK's own environment and uses the SDK's public interface alone. A command is
`{"id": 1, "do": "send", "client": "dev1", ...}`; its answer is an event with the same id. What happens by itself (a
desired property, a method, a lost connection) is an event without one. Each command ends by its own deadline.
"""

import asyncio
import json
import os
import sys
import threading

import redirect
from azure.iot.device import X509, Message, MethodResponse, ProxyOptions
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

DEADLINE = 20.0
MESSAGE_FACTS = ("message_id", "correlation_id", "user_id", "content_type", "content_encoding", "expiry_time_utc")
_speaking = threading.Lock()


def say(event, **facts):
    """Write one event; the SDK calls handlers on threads of its own."""
    line = json.dumps({"event": event, **facts}, default=str)
    with _speaking:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def chain_of(error):
    """An exception with its causes, as a traceback would show them: [class, message] each, the outermost first."""
    found = []
    while error is not None:
        found.append([type(error).__name__, str(error)])
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


class Driver:
    """The clients of this process and the commands for them."""

    def __init__(self):
        self.clients = {}

    async def open(self, name, *, transport="mqtt", ca=None, module=False, options=None, proxy=None, **identity):
        """Make a client and connect it."""
        kind = IoTHubModuleClient if module else IoTHubDeviceClient
        options = {"websockets": transport == "ws", **(options or {})}
        if ca is not None:
            options["server_verification_cert"] = ca
        if proxy is not None:
            options["proxy_options"] = ProxyOptions("HTTP", *proxy)
        client = self.clients[name] = _create(kind, identity, options)

        def changed():
            say("connected" if client.connected else "disconnected", client=name)

        client.on_connection_state_change = changed
        client.on_background_exception = lambda error: say("background", client=name, chain=chain_of(error))
        await client.connect()
        return {}

    async def send(self, name, *, body, properties=None, output=None, **facts):
        """Send one message and wait until it is acknowledged."""
        message = Message(body)
        message.custom_properties = properties or {}
        for fact, value in facts.items():
            assert fact in MESSAGE_FACTS, fact
            setattr(message, fact, value)
        client = self.clients[name]
        await (client.send_message(message) if output is None else client.send_message_to_output(message, output))
        return {}

    async def twin(self, name):
        """Get the whole twin."""
        return {"twin": await self.clients[name].get_twin()}

    async def report(self, name, *, patch):
        """Send reported properties and wait until they are accepted."""
        await self.clients[name].patch_twin_reported_properties(patch)
        return {}

    async def watch(self, name):
        """Say every change of the desired properties."""
        client = self.clients[name]
        client.on_twin_desired_properties_patch_received = lambda patch: say("desired", client=name, patch=patch)
        await self._settle(client)
        return {}

    async def serve(self, name, *, methods):
        """Answer these methods, `{name: [status, payload]}`; say what was called."""
        client = self.clients[name]

        async def call(request):
            if request.name not in methods:
                return
            status, answer = methods[request.name]
            say("method", client=name, name=request.name, payload=request.payload)
            await client.send_method_response(MethodResponse.create_from_method_request(request, status, answer))

        client.on_method_request_received = call
        await self._settle(client)
        return {}

    async def listen(self, name):
        """Say every message from the cloud, or for a module every message on an input."""
        client = self.clients[name]
        client.on_message_received = lambda message: say("message", client=name, **_facts(message))
        await self._settle(client)
        return {}

    async def invoke(self, name, *, device_id, method, payload, module_id=None):
        """Call a method of another device or module, as modules may."""
        call = {"methodName": method, "payload": payload, "responseTimeoutInSeconds": 10, "connectTimeoutInSeconds": 5}
        return {"result": await self.clients[name].invoke_method(call, device_id, module_id)}

    async def upload(self, name, *, blob):
        """Ask where to upload a file to."""
        return {"where": await self.clients[name].get_storage_info_for_blob(blob)}

    async def uploaded(self, name, *, correlation):
        """Tell that a file has been uploaded."""
        await self.clients[name].notify_blob_upload_status(correlation, True, 200, "done")
        return {}

    async def disconnect(self, name):
        """Disconnect; the client can connect again."""
        await self.clients[name].disconnect()
        return {}

    async def reconnect(self, name):
        """Connect a client that was disconnected."""
        await self.clients[name].connect()
        return {}

    async def reset(self, _):
        """Shut every client down and forget every route."""
        clients, self.clients = self.clients, {}
        await asyncio.gather(*(client.shutdown() for client in clients.values()))
        redirect.clear()
        return {}

    async def route(self, _, *, host, port, to):
        """Send connections elsewhere."""
        redirect.add(host, port, *to)
        return {}

    async def _settle(self, client):
        """Setting a handler subscribes in the background; what is sent after it is answered after it."""
        await client.get_twin()

    async def obey(self, command):
        """Do one command and answer it."""
        number, do, name = command.pop("id"), command.pop("do"), command.pop("client", None)
        deadline = command.pop("deadline", DEADLINE)
        try:
            facts = await asyncio.wait_for(getattr(self, do)(name, **command), deadline)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is the answer
            say("error", id=number, client=name, chain=chain_of(error))
        else:
            say("done", id=number, client=name, **facts)


def _create(kind, identity, options):
    if "edge" in identity:  # what the SDK calls the Edge local development variables
        os.environ.update(identity["edge"])
        return kind.create_from_edge_environment(**options)
    if "x509" not in identity:
        return kind.create_from_connection_string(identity["connection_string"], **options)
    given = identity["x509"]
    return kind.create_from_x509_certificate(
        X509(given["certificate"], given["key"]),
        given["hub"],
        *(given[name] for name in ("device_id", "module_id") if name in given),
        gateway_hostname=given["gateway"],
        **options,
    )


def _facts(message):
    facts = {fact: getattr(message, fact) for fact in MESSAGE_FACTS if getattr(message, fact) is not None}
    properties = dict(message.custom_properties)
    return {"body": message.data.decode(), "properties": properties, "input": message.input_name, **facts}


async def main():
    """Obey until standard input ends."""
    loop = asyncio.get_running_loop()
    commands = asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(commands.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    driver, running = Driver(), set()
    say("ready")
    while (command := await commands.get()) is not None:
        task = asyncio.ensure_future(driver.obey(command))
        running.add(task)
        task.add_done_callback(running.discard)
    await driver.reset(None)


redirect.install()
asyncio.run(main())
