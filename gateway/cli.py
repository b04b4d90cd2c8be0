"""`leafgate upstream | clock | health`: a running gateway on the command line.

Rule: only typer and the standard library are imported up here; the rest by the command that needs it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from enum import StrEnum
from itertools import count as numbers
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gateway.remote import Remote

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
SIGNED = {"ignore_unknown_options": True, "help_option_names": ["--help"]}  # -30s is no option, nor is -1h
EXIT_CODES = "Exit codes: 0 done, 1 the gateway refused, 2 usage, 3 no gateway was reached."

upstream = typer.Typer(
    name="upstream",
    help="The cloud's side of a running gateway: watch what arrives, send to devices.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=CONTEXT,
    epilog=EXIT_CODES,
)
clock = typer.Typer(
    name="clock",
    help="What time it is for a running gateway, and letting it pass.",
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings=CONTEXT,
    epilog=EXIT_CODES,
)


class Source(StrEnum):
    """Where messages come from, in IoT Hub's words."""

    TELEMETRY = "Telemetry"
    TWIN_CHANGES = "twinChangeEvents"
    LIFECYCLE = "deviceLifecycleEvents"
    CONNECTION_STATE = "deviceConnectionStateEvents"


Ready = Annotated[
    Path | None,
    typer.Option(
        "--ready",
        envvar="LEAFGATE_READY",
        metavar="FILE",
        help="The gateway's ready file [default: the newest running gateway].",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="LEAFGATE_ADMIN_URL",
        metavar="URL",
        help="Its HTTP interface; a token goes in LEAFGATE_ADMIN_TOKEN.",
    ),
]
Json = Annotated[bool, typer.Option("--json", envvar="LEAFGATE_JSON", help="JSON on stdout.")]
Far = Annotated[str, typer.Argument(help="Seconds, or 500ms, 30s, 5m, +2h, 1d.")]


@upstream.command()
def tail(
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow/--no-follow",
            "-f",
            envvar="LEAFGATE_UPSTREAM_FOLLOW",
            help="Wait for what comes, or show what there is.",
        ),
    ] = True,
    after: Annotated[
        int | None,
        typer.Option(
            "--after",
            envvar="LEAFGATE_UPSTREAM_AFTER",
            min=0,
            help="Begin behind this number [default: follow now, else from the start].",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", envvar="LEAFGATE_UPSTREAM_DEVICE", metavar="ID", help="Only of this device, or DEVICE/MODULE."
        ),
    ] = None,
    source: Annotated[
        Source | None, typer.Option("--source", envvar="LEAFGATE_UPSTREAM_SOURCE", help="Only of this source.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", envvar="LEAFGATE_UPSTREAM_COUNT", min=1, help="Stop after so many messages."),
    ] = None,
    as_json: Json = False,
    ready: Ready = None,
    url: Url = None,
) -> None:
    """Show what arrives upstream, one line per message, until Ctrl-C.

    \b
    Examples:
      leafgate upstream tail
      leafgate upstream tail --no-follow --device press-7 --json
      leafgate upstream tail --source twinChangeEvents --count 1
    """
    wanted = {"device": device, "source": source and source.value}
    begin = after if after is not None else "latest" if follow else 0
    shown = numbers(1)
    with _remote(ready, url) as remote:
        if follow:
            typer.echo(f"watching {remote.address.url}; Ctrl-C ends it", err=True)
        for page in remote.follow(begin, **wanted) if follow else _pages(remote, begin, wanted):
            if page.get("missed"):
                typer.echo(f"({page['missed']} messages before these are kept no more)", err=True)
            for event in page["events"]:
                _show(event, as_json)
                if next(shown) == count:
                    return
            sys.stdout.flush()


def _pages(remote: Remote, after: int | str, wanted: dict[str, Any]) -> Any:
    """What there is now."""
    end = remote.get("/feed", after="latest")["next"]
    while True:
        page = remote.get("/feed", after=after, **wanted)
        page["events"] = [event for event in page["events"] if event["sequence"] <= end]
        yield page
        after = page["next"]
        if page["next"] >= end:
            return


def _show(event: dict[str, Any], as_json: bool) -> None:
    from gateway.tail import line, plain

    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    typer.echo(json.dumps(event) if as_json else line(event, _coloured if coloured else plain))


def _coloured(text: str, style: str) -> str:
    return typer.style(text, **{style: True}) if style in ("dim", "bold") else typer.style(text, fg=style)


@upstream.command()
def send(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    body: Annotated[str, typer.Argument(help="The text; - reads it from standard input.")],
    *,
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            envvar="LEAFGATE_UPSTREAM_PROPERTY",
            metavar="KEY=VALUE",
            help="Application property; repeatable.",
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            envvar="LEAFGATE_UPSTREAM_SYSTEM",
            metavar="KEY=VALUE",
            help="System property, as in message-id=1; repeatable.",
        ),
    ] = None,
    as_json: Json = False,
    ready: Ready = None,
    url: Url = None,
) -> None:
    """Send a cloud-to-device message.

    \b
    Examples:
      leafgate upstream send press-7 'restart please' --property urgent=yes
      leafgate upstream send press-7 - --system content-type=application/json < order.json
    """
    import base64

    data = sys.stdin.buffer.read() if body == "-" else body.encode("utf-8", "surrogateescape")
    message = {
        "deviceId": device,
        "payload": base64.b64encode(data).decode(),
        "payloadEncoding": "base64",
        "properties": _bag(properties, "--property"),
        "systemProperties": _bag(system, "--system"),
    }
    with _remote(ready, url) as remote:
        queued = remote.post("/c2d", message)
    text = f"queued for {device}; {queued['waiting']} waiting, expires {queued['expires']}"
    typer.echo(json.dumps(queued) if as_json else text)


def _bag(given: list[str] | None, option: str) -> dict[str, str]:
    bag = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        bag[name] = value
    return bag


class State(StrEnum):
    """How the line to IoT Hub can be."""

    UP = "up"
    REFUSED = "refused"
    BLACK_HOLE = "black-hole"
    DNS = "dns-gone"
    SLOW = "slow"
    THROTTLED = "throttled"
    QUOTA = "quota-exceeded"


@upstream.command()
def link(
    state: Annotated[State | None, typer.Argument(help="How the line is from now on; without, it is shown.")] = None,
    *,
    latency: Annotated[
        float | None,
        typer.Option(
            "--latency", envvar="LEAFGATE_UPSTREAM_LATENCY", min=0, metavar="S", help="Seconds that `slow` takes."
        ),
    ] = None,
    unauthorized: Annotated[
        list[str] | None,
        typer.Option(
            "--unauthorized",
            envvar="LEAFGATE_UPSTREAM_UNAUTHORIZED",
            metavar="ID",
            help="A device that IoT Hub refuses; repeatable, '' for none.",
        ),
    ] = None,
    noticed: Annotated[
        bool,
        typer.Option(
            "--noticed", envvar="LEAFGATE_UPSTREAM_NOTICED", help="Let Edge Hub know at once, not by its next probe."
        ),
    ] = False,
    as_json: Json = False,
    ready: Ready = None,
    url: Url = None,
) -> None:
    """Show or switch the gateway's line to IoT Hub; leaves stay connected.

    \b
    Examples:
      leafgate upstream link black-hole
      leafgate upstream link slow --latency 3
      leafgate upstream link --unauthorized press-7
      leafgate upstream link up --noticed
    """
    change: dict[str, Any] = {"state": state.value} if state else {}
    change |= {"latency": latency} if latency is not None else {}
    change |= {"unauthorized": [name for name in unauthorized if name]} if unauthorized else {}
    if latency is not None and not math.isfinite(latency):
        raise typer.BadParameter("seconds, and not for ever: that is black-hole", param_hint="--latency")
    if noticed and not change:
        raise typer.BadParameter("it goes with a state", param_hint="--noticed")
    with _remote(ready, url) as remote:
        found = remote.put("/link", {**change, "noticed": noticed}) if change else remote.get("/link")
    typer.echo(json.dumps(found) if as_json else _line(found))


def _line(found: dict[str, Any]) -> str:
    slow = f" ({found['latency']:g} s)" if found["state"] == "slow" else ""
    refused = f", refuses {', '.join(found['unauthorized'])}" if found["unauthorized"] else ""
    believes = f"; Edge Hub is {found['edge_hub']}" if found["edge_hub"] else "; Edge Hub is down"
    return f"{found['state']}{slow}{refused}{believes}"


@clock.callback()
def now(context: typer.Context, *, as_json: Json = False, ready: Ready = None, url: Url = None) -> None:
    """What time it is for a running gateway, and letting it pass.

    \b
    Examples:
      leafgate clock
      leafgate clock advance +2h        time passes for everybody: tokens and messages expire, retries come due
      leafgate clock step -30s          the gateway's clock alone is set, as NTP does
    """
    if context.invoked_subcommand is None:
        show(as_json=as_json, ready=ready, url=url)


@clock.command()
def show(*, as_json: Json = False, ready: Ready = None, url: Url = None) -> None:
    """Print the gateway's time."""
    with _remote(ready, url) as remote:
        _tell_time(remote.get("/clock"), as_json)


@clock.command(context_settings=SIGNED)
def advance(far: Far, *, as_json: Json = False, ready: Ready = None, url: Url = None) -> None:
    """Let time pass, for everybody; what is due by then is done when this returns."""
    _move("advance", far, as_json, ready, url)


@clock.command(context_settings=SIGNED)
def step(far: Far, *, as_json: Json = False, ready: Ready = None, url: Url = None) -> None:
    """Set the gateway's clock alone, forth or back (-30s)."""
    _move("step", far, as_json, ready, url)


def _move(how: str, far: str, as_json: bool, ready: Path | None, url: str | None) -> None:
    try:
        distance: float | str = float(far)
    except ValueError:
        distance = far
    with _remote(ready, url) as remote:
        _tell_time(remote.post("/clock", {how: distance}), as_json)


def _tell_time(time: dict[str, Any], as_json: bool) -> None:
    ahead = f"  ({time['ahead']:+.0f} s against the machine's)" if abs(time["ahead"]) >= 1 else ""
    typer.echo(json.dumps(time) if as_json else f"{time['now']}{ahead}")


def health(*, as_json: Json = False, ready: Ready = None, url: Url = None) -> None:
    """Say whether a running gateway takes connections; exit code 1 while its Edge Hub is down.

    \b
    Example:
      leafgate health && echo "it is up"
    """
    with _remote(ready, url) as remote:
        found = remote.get("/health")
    clients = "1 client" if found["connected_clients"] == 1 else f"{found['connected_clients']} clients"
    typer.echo(json.dumps(found) if as_json else f"{found['hostname']} is {found['status']}, {clients} connected")
    if found["status"] != "up":
        raise typer.Exit(1)


# The front door reads it; functions have no such attribute of their own.
setattr(health, "command_settings", {"context_settings": CONTEXT, "epilog": EXIT_CODES})  # noqa: B010


def _remote(ready: Path | None, url: str | None) -> Remote:
    from gateway.remote import Remote, find

    return Remote(find(ready, url))
