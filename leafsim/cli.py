"""`leafgate leaf ...`: a leaf device on the command line, against the emulator or a real gateway."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from leafsim.device import Device
    from leafsim.session import Received

app = typer.Typer(
    name="leaf",
    help="Be a leaf device: connect, send telemetry, watch what arrives.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 leaf or gateway refused, 2 usage or a file is wrong, 3 not reached.",
)

ConnectionText = Annotated[
    str,
    typer.Option(
        "--connection-string",
        envvar=["LEAFGATE_LEAF_CONNECTION_STRING", "IOTHUB_DEVICE_CONNECTION_STRING"],
        show_default=False,
        help="The device's, with GatewayHostName; - reads it from standard input.",
    ),
]
TrustText = Annotated[
    str,
    typer.Option(
        "--trust",
        envvar=["LEAFGATE_LEAF_TRUST", "IOTEDGE_ROOT_CA_CERT_PATH"],
        metavar="FILE|system|none",
        help="The gateway's root certificate, the system's store (honours SSL_CERT_FILE), or an empty store.",
    ),
]
Port = Annotated[
    int, typer.Option("--port", envvar="LEAFGATE_LEAF_PORT", min=1, max=65535, help="The gateway's MQTT port.")
]
ConnectTo = Annotated[
    list[str] | None,
    typer.Option(
        "--connect-to",
        envvar="LEAFGATE_LEAF_CONNECT_TO",
        metavar="NAME:PORT:ADDRESS:PORT",
        help="Connect that name and port elsewhere; SNI and verification keep the name. Repeatable.",
    ),
]
ClientId = Annotated[
    str | None,
    typer.Option("--client-id", envvar="LEAFGATE_LEAF_CLIENT_ID", help="Another MQTT client id."),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--cert-file", envvar="LEAFGATE_LEAF_CERT_FILE", help="Client certificate, PEM, when x509=true."),
]
Key = Annotated[
    Path | None, typer.Option("--key-file", envvar="LEAFGATE_LEAF_KEY_FILE", help="Private key of --cert-file, PEM.")
]
Timeout = Annotated[
    float, typer.Option("--timeout", envvar="LEAFGATE_LEAF_TIMEOUT", min=0.1, help="Seconds to wait for an answer.")
]
Json = Annotated[bool, typer.Option("--json", envvar="LEAFGATE_LEAF_JSON", help="One JSON object per line on stdout.")]

SAMPLE = '{"temperature": 21}'


@app.command()
def connect(
    *,
    connection_string: ConnectionText = "",
    trust: TrustText = "system",
    port: Port = 8883,
    connect_to: ConnectTo = None,
    client_id: ClientId = None,
    cert: Certificate = None,
    key: Key = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Connect, say how it went, disconnect.

    Example: leafgate leaf connect --connection-string "$CS" --trust root.pem

    Example: leafgate leaf connect --trust root.pem --connect-to gw.factory.test:8883:127.0.0.1:8883 --json
    """
    from leafsim.outcome import as_json as outcome

    with _reporting(as_json):
        device = _device(
            connection_string=connection_string,
            trust=trust,
            port=port,
            connect_to=connect_to,
            client_id=client_id,
            cert=cert,
            key=key,
        )
        device.connect(timeout)
        facts = {"session_present": device.session_present, "tls": device.tls_version}
        device.disconnect()
    typer.echo(
        json.dumps(outcome(None, **facts)) if as_json else f"connected to {_where(device)} ({device.tls_version})"
    )


@app.command()
def send(
    *,
    connection_string: ConnectionText = "",
    trust: TrustText = "system",
    body: Annotated[
        str, typer.Option("--body", envvar="LEAFGATE_LEAF_BODY", help="The text; {n} is the number.")
    ] = SAMPLE,
    properties: Annotated[
        list[str] | None,
        typer.Option("--property", envvar="LEAFGATE_LEAF_PROPERTY", metavar="KEY=VALUE", help="Repeatable."),
    ] = None,
    message_id: Annotated[
        str | None, typer.Option("--message-id", envvar="LEAFGATE_LEAF_MESSAGE_ID", help="{n} is the number.")
    ] = None,
    count: Annotated[int, typer.Option("--count", envvar="LEAFGATE_LEAF_COUNT", min=1, help="How many messages.")] = 1,
    interval: Annotated[
        float, typer.Option("--interval", envvar="LEAFGATE_LEAF_INTERVAL", min=0, help="Seconds between two messages.")
    ] = 0.0,
    port: Port = 8883,
    connect_to: ConnectTo = None,
    client_id: ClientId = None,
    cert: Certificate = None,
    key: Key = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Send telemetry and wait for each message's acknowledgement. JSON bodies say so in their content type.

    Example: leafgate leaf send --connection-string "$CS" --trust root.pem --body '{"temperature": 21}'

    Example: leafgate leaf send --trust root.pem --body 'reading {n}' --property line=4 --count 10 --interval 1
    """
    from leafsim.outcome import as_json as outcome

    bag = dict(_property(text) for text in properties or [])
    sent = 0
    with _reporting(as_json, lambda: {"sent": sent}):
        device = _device(
            connection_string=connection_string,
            trust=trust,
            port=port,
            connect_to=connect_to,
            client_id=client_id,
            cert=cert,
            key=key,
        )
        device.connect(timeout)
        try:
            for number in range(1, count + 1):
                if sent and interval:
                    time.sleep(interval)
                _send(device, _numbered(body, number), bag, _numbered(message_id, number), timeout)
                sent = number
        finally:
            device.disconnect()
    many = "1 message" if sent == 1 else f"{sent} messages"
    typer.echo(json.dumps(outcome(None, sent=sent)) if as_json else f"{many} acknowledged by {_where(device)}")


@app.command()
def watch(
    *,
    connection_string: ConnectionText = "",
    trust: TrustText = "system",
    count: Annotated[
        int | None, typer.Option("--count", envvar="LEAFGATE_LEAF_COUNT", min=1, help="Stop after so many messages.")
    ] = None,
    port: Port = 8883,
    connect_to: ConnectTo = None,
    client_id: ClientId = None,
    cert: Certificate = None,
    key: Key = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Print what arrives (cloud-to-device messages, desired properties, method calls) until Ctrl-C.

    Example: leafgate leaf watch --connection-string "$CS" --trust root.pem
    """
    from leafsim.watching import Arrivals

    arrived = Arrivals()
    with _reporting(as_json):
        device = _device(
            connection_string=connection_string,
            trust=trust,
            port=port,
            connect_to=connect_to,
            client_id=client_id,
            cert=cert,
            key=key,
            **arrived.listeners,
        )
        device.connect(timeout)
        try:
            arrived.subscribe(device, timeout)
            typer.echo(f"watching {_where(device)}; Ctrl-C ends it", err=True)
            for message in arrived.messages(count):
                typer.echo(_received(message, as_json))
        finally:
            device.disconnect()


def _device(
    *,
    connection_string: str,
    trust: str,
    port: int,
    connect_to: list[str] | None,
    client_id: str | None,
    cert: Path | None,
    key: Path | None,
    **listeners: Any,
) -> Device:
    from leafsim.credentials import ClientCertificate
    from leafsim.device import Device
    from leafsim.errors import LeafError
    from leafsim.routes import parse_routes

    if not connection_string:
        raise LeafError("no connection string", "give --connection-string, or set IOTHUB_DEVICE_CONNECTION_STRING")
    if (cert is None) != (key is None):
        raise LeafError("--cert-file and --key-file go together", "give both, PEM files")
    return Device(
        sys.stdin.readline().strip() if connection_string == "-" else connection_string,
        trust=None if trust == "none" else trust,
        port=port,
        connect_to=parse_routes(connect_to or []),
        client_id=client_id,
        client_certificate=ClientCertificate(cert, key) if cert and key else None,
        **listeners,
    )


@contextmanager
def _reporting(as_json: bool, facts: Any = dict) -> Iterator[None]:
    """With --json an error is the one line on stdout; without, the front door prints it."""
    from leafsim.errors import LeafError
    from leafsim.outcome import as_json as outcome

    try:
        yield
    except LeafError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({**outcome(error), **facts()}))
        raise typer.Exit(error.exit_code) from None


def _send(device: Device, body: str | None, bag: dict[str, str | None], message_id: str | None, timeout: float) -> None:
    text = body or ""
    told = {"content_type": "application/json", "content_encoding": "utf-8"} if _is_json(text) else {}
    device.send(text, bag, message_id=message_id, timeout=timeout, **told)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def _numbered(text: str | None, number: int) -> str | None:
    return None if text is None else text.replace("{n}", str(number))


def _property(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--property")
    return name, value if equals else None


def _received(message: Received, as_json: bool) -> str:
    from leafsim.watching import describe, to_json

    return json.dumps(to_json(message)) if as_json else describe(message)


def _where(device: Device) -> str:
    from leafsim.address import with_port

    return f"{with_port(device.connection.target, device.port)} as {device.client_id}"
