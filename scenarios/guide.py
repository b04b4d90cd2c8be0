"""What `leafgate up` prints: the facts, and lines to copy and paste that connect with real programs."""

from __future__ import annotations

import ipaddress
import shlex
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from certs import names
from certs.renewal import earliest_expiry
from gateway import Gateway
from leafsim import ConnectionString, sas_token
from scenarios.cast import HOUR, Actor
from scenarios.record import moment
from scenarios.setting import LeafSetting
from scenarios.stage import left_out, served

if TYPE_CHECKING:
    from scenarios.model import Loaded

API_VERSION = "2021-04-12"
TOKEN_LIFE = 86_400
SDK_PORT = 8883  # azure-iot-device has it hard-wired
HUB_SDK_PORT = 443  # azure-iothub takes no port in HostName


def text(
    gateway: Gateway,
    leaves: Mapping[str, str],
    actors: Sequence[Actor],
    loaded: Loaded | None,
    children: Mapping[str, Any] | None = None,
) -> str:
    """Everything, as one text; `children` are as in the ready file."""
    return "\n".join(_lines(gateway, leaves, actors, loaded, children or {})) + "\n"


def _lines(
    gateway: Gateway,
    leaves: Mapping[str, str],
    actors: Sequence[Actor],
    loaded: Loaded | None,
    children: Mapping[str, Any],
) -> Iterator[str]:
    if loaded is not None:
        yield f"{loaded.name}: {loaded.claim}"
        yield ""
    yield f"The gateway {gateway.hostname} is up."
    yield f"  mqtt    {gateway.bind}:{gateway.mqtt_port}"
    if gateway.https_port is not None:
        yield f"  https   {gateway.bind}:{gateway.https_port}  (MQTT over WebSocket, direct method calls)"
    yield from _hub(gateway)
    if gateway.admin_url is not None:
        yield f"  admin   {gateway.admin_url}/api/v1  (/feed what arrived, /c2d, /clock, /link, /state, /openapi.json)"
    if gateway.metrics_port is not None:
        yield f"  metrics http://{gateway.bind}:{gateway.metrics_port}/metrics  (Prometheus)"
    if gateway.admin_token is not None:
        yield f"  token   {gateway.admin_token}  (Authorization: Bearer TOKEN)"
    yield f"  root    {gateway.root_ca}"
    missing = left_out(gateway.chain)
    yield f"  chain   {served(gateway.chain).removeprefix('serves ')}{f'  ({missing})' if missing else ''}"
    yield f"  ends    {_ending(gateway)}"
    yield from _parent(gateway)
    yield from _children(children)
    yield ""
    for name, connection in leaves.items():
        yield f"{name}:  {connection}"
        yield from (f"  {remark}" for actor in actors if actor.name == name for remark in _remarks(actor))
    yield from _resolving(gateway)
    for first in [*leaves.items()][:1]:
        yield from _try_it(gateway, first, actors)
        if gateway.admin_url is not None and gateway.parent is None:
            yield from _back_end(first[0])
    yield ""
    yield "Ctrl-C stops it. Whoever is refused shows up here with the probable cause."


def _parent(gateway: Gateway) -> Iterator[str]:
    if gateway.parent is not None:
        above = gateway.parent.parent
        yield f"  parent  {above.hostname} at {above.mqtt[0]}:{above.mqtt[1]}, as edge device {above.device_id}"


def _children(children: Mapping[str, Any]) -> Iterator[str]:
    """Who is below, and how it is started."""
    for name, child in children.items():
        below = ", ".join([*child["leaves"], *child["children"]])
        yield f"  child   {name}" + (f", with {below} below it" if below else "")


def _hub(gateway: Gateway) -> Iterator[str]:
    """Where the cloud's service API is, and its root if that is not the gateway's."""
    if gateway.hub_port is None:
        return
    own = "" if _same_root(gateway) else f", root {gateway.hub_root_ca}"
    yield f"  hub     {gateway.bind}:{gateway.hub_port}  (service API of {gateway.hub_hostname}{own})"
    yield f"          {gateway.service_connection_string()}"


def _same_root(gateway: Gateway) -> bool:
    assert gateway.hub_root_ca is not None, "it has a service API"
    return gateway.hub_root_ca.read_bytes() == gateway.root_ca.read_bytes()


def _ending(gateway: Gateway) -> str:
    """Which of the certificates on the wire ends first."""
    first = earliest_expiry(gateway.chain.sent)
    end = moment(first.not_valid_after_utc.timestamp())
    is_server = first == gateway.chain.server.certificate
    after = " (the server certificate: Edge Hub restarts 2.5 minutes before)" if is_server else ""
    return f"{end}, {names.common_name(first.subject)}{after}"


def _remarks(actor: Actor) -> Iterator[str]:
    """What a connection string cannot say about a scenario's leaf."""
    setting = actor.setting
    if setting.trust != "root":
        yield f"trusts {actor.pem or 'nothing'} ({setting.trust})"
    if setting.client_id:
        yield f"calls itself {setting.client_id} in CONNECT"
    if setting.username:
        yield f"has the user name {setting.username}"
    if setting.sas == "expired":
        yield "uses a token that has expired"
    if setting.key == "wrong":
        yield "has a key in this connection string that is not the one the hub knows"
    if setting.stack != "paho":
        yield f"runs on the TLS stack {setting.stack}"


def resolves(name: str, address: str) -> bool:
    """Whether the name leads to the address the gateway listens on."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return False
    return address in found or address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _resolving(gateway: Gateway) -> Iterator[str]:
    name, port = gateway.hostname, gateway.mqtt_port
    if resolves(name, gateway.bind):
        return
    yield ""
    yield f"{name} does not lead to {gateway.bind} on this machine. Ways out:"
    yield f"  hosts line       {gateway.bind}  {name}          (in /etc/hosts, for any program)"
    yield f"  --connect-to     {name}:{port}:{gateway.bind}:{port}  (for `leafgate leaf`; needs no rights)"


def _try_it(gateway: Gateway, leaf: tuple[str, str], actors: Sequence[Actor]) -> Iterator[str]:
    name, connection = leaf
    actor = next((actor for actor in actors if actor.name == name), None)
    parsed = ConnectionString.parse(connection)
    trust = str(gateway.root_ca if actor is None else actor.pem or "/dev/null")
    target, port, address = parsed.target, gateway.mqtt_port, gateway.bind
    yield ""
    yield f"Try it as {name}:"
    yield ""
    yield "  # leafgate's own leaf"
    yield f"  {_leafgate(connection, trust, actor)} --port {port}{_detour(target, port, address)}"
    yield ""
    yield "  # what a leaf makes of the chain, why, and which TLS stacks disagree"
    named = "" if target == address else f" --name {target}"
    yield f"  leafgate diagnose {address}:{port}{named} --trust {trust}"
    yield ""
    yield "  # openssl"
    check = f"-verify_ip {target}" if is_address(target) else f"-servername {target} -verify_hostname {target}"
    yield f"  openssl s_client -connect {address}:{port} {check} -CAfile {trust} -showcerts </dev/null"
    yield ""
    yield "  # mosquitto_pub (the token is good for a day)"
    yield from _mosquitto(parsed, trust, port, actor.setting if actor else LeafSetting())
    yield ""
    only = "" if port == SDK_PORT else f"; connects to port {SDK_PORT} only, so start with --mqtt-port {SDK_PORT}"
    yield f"  # Azure IoT SDK for Python (pip install azure-iot-device{only})"
    yield f"  python -c {shlex.quote(_python(connection, trust))}"
    yield ""
    yield "  # Azure IoT SDK for Node.js (npm install azure-iot-device azure-iot-device-mqtt)"
    # Over MQTT it alone takes a port in GatewayHostName, which is neither documented nor the rule of leafsim.
    where = connection if port == SDK_PORT else str(parsed.replace(gateway_host_name=f"{target}:{port}"))
    yield f"  node -e {shlex.quote(_node(where, trust))}"
    if gateway.hub_port is not None:
        yield from _try_the_hub(gateway, gateway.hub_port)


def _try_the_hub(gateway: Gateway, port: int) -> Iterator[str]:
    root, text = gateway.hub_root_ca, gateway.service_connection_string()
    yield ""
    yield "Or as its back end:"
    yield ""
    yield "  # Azure IoT Hub service SDK for Python (pip install azure-iot-hub six)"
    yield f"  REQUESTS_CA_BUNDLE={root} python -c {shlex.quote(_python_back_end(text))}"
    yield ""
    yield "  # Azure IoT Hub service SDK for Node.js (npm install azure-iothub)"
    if port != HUB_SDK_PORT:
        yield f"  # It connects to port {HUB_SDK_PORT} only, so start with --hub-port {HUB_SDK_PORT} --https-port 8444."
    host = text.partition(";")[0].rpartition(":")[0]
    portless = host + text[text.index(";") :]
    yield f"  NODE_EXTRA_CA_CERTS={root} node -e {shlex.quote(_node_back_end(portless))}"


def _back_end(leaf: str) -> Iterator[str]:
    yield ""
    yield "The cloud's side, from another terminal:"
    yield ""
    yield "  leafgate upstream tail"
    yield f"  leafgate upstream send {shlex.quote(leaf)} 'restart please' --property urgent=yes"
    yield "  leafgate clock advance +2h"


def _leafgate(connection: str, trust: str, actor: Actor | None) -> str:
    word = actor.setting.trust if actor else "root"
    start = f"SSL_CERT_FILE={trust} " if word == "system" else ""
    trusts = word if word in ("system", "none") else trust
    client_id = f" --client-id {shlex.quote(actor.client_id)}" if actor and actor.setting.client_id else ""
    return f"{start}leafgate leaf send --connection-string {shlex.quote(connection)} --trust {trusts}{client_id}"


def _detour(target: str, port: int, address: str) -> str:
    return "" if resolves(target, address) else f" --connect-to {target}:{port}:{address}:{port}"


def is_address(name: str) -> bool:
    """Whether the name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _mosquitto(parsed: ConnectionString, trust: str, port: int, setting: LeafSetting) -> Iterator[str]:
    client_id = setting.client_id or parsed.client_id
    user = setting.username or f"{parsed.host_name}/{parsed.client_id}/?api-version={API_VERSION}"
    life = -HOUR if setting.sas == "expired" else TOKEN_LIFE
    path = parsed.client_id.replace("/", "/modules/")
    resource = f"{parsed.host_name}/devices/{path}"
    token = sas_token(resource, parsed.shared_access_key or "", int(time.time() + life))
    message = '{"temperature": 21}'
    yield f"  mosquitto_pub -V mqttv311 -h {parsed.target} -p {port} --cafile {trust} -i {shlex.quote(client_id)} \\"
    yield f"    -u {shlex.quote(user)} \\"
    yield f"    -P {shlex.quote(token)} \\"
    yield f"    -q 1 -t devices/{path}/messages/events/ -m {shlex.quote(message)}"


def _python(connection: str, trust: str) -> str:
    return (
        "from azure.iot.device import IoTHubDeviceClient as C; "
        f'c = C.create_from_connection_string("{connection}", server_verification_cert=open("{trust}").read()); '
        'c.send_message("hello"); c.shutdown()'
    )


def _node(connection: str, trust: str) -> str:
    return (
        'const {Client, Message} = require("azure-iot-device"), {Mqtt} = require("azure-iot-device-mqtt"); '
        f'const c = Client.fromConnectionString("{connection}", Mqtt); '
        f'c.setOptions({{ca: require("fs").readFileSync("{trust}", "utf8")}})'
        '.then(() => c.open()).then(() => c.sendEvent(new Message("hello"))).then(() => c.close())'
    )


def _python_back_end(connection: str) -> str:
    return (
        "from azure.iot.hub import IoTHubRegistryManager as M; "
        f'print([d.device_id for d in M.from_connection_string("{connection}").get_devices()])'
    )


def _node_back_end(connection: str) -> str:
    return (
        f'require("azure-iothub").Registry.fromConnectionString("{connection}").list()'
        ".then((found) => console.log(found.responseBody.map((d) => d.deviceId)))"
    )
