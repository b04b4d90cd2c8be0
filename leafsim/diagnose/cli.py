"""`leafgate diagnose` and `leafgate why`."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from leafsim.diagnose.examine import Examination

_TOLD = 5  # causes of a message that are told in full
_EXIT = {"ok": 0, "fail": 1, "unreachable": 3}


def diagnose(
    target: Annotated[str | None, typer.Argument(metavar="HOST:PORT", show_default=False)] = None,
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What leaves call the gateway. Default: GatewayHostName, else the host."),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", envvar="IOTEDGE_ROOT_CA_CERT_PATH", help="PEM file with the root that leaves trust."),
    ] = None,
    connection_string: Annotated[
        str | None,
        typer.Option(
            "--connection-string",
            envvar="IOTHUB_DEVICE_CONNECTION_STRING",
            show_default=False,
            help="A device's, @FILE with it, or - for standard input: judge it, and connect once as that device.",
        ),
    ] = None,
    connecting: Annotated[
        bool, typer.Option("--connect/--no-connect", help="Connect as the device; displaces it for a moment.")
    ] = True,
    chain: Annotated[
        Path | None, typer.Option("--chain", help="Judge a PEM file with the served chain, instead of HOST:PORT.")
    ] = None,
    at: Annotated[datetime | None, typer.Option("--at", help="With --chain: judge it for this time (UTC).")] = None,
    stack: Annotated[
        list[str] | None, typer.Option("--stack", help="Ask this TLS stack too (openssl, paho, ...). Repeatable.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for everything.")] = 10,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE.zip", help="Keep what `leafgate up --imitate` rebuilds it from; no secrets."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; --schema shows the shape.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json and end.")] = False,
) -> None:
    """Say why leaves do not connect to a gateway: the cause, how one sees it, the fix, and who is affected.

    Nothing on the other side is changed, and no private key is needed; real gateways are welcome. With a connection
    string its device connects once, which displaces for a moment a device that is connected under that identity.
    Exit code 0: leaves on OpenSSL 3 connect, 1: a cause was found, 2: usage or a file, 3: not reached.

    \b
    Examples:
      leafgate diagnose gw.factory.test:8883 --trust root.pem
      leafgate diagnose 192.168.1.20:8883 --name gw.factory.test --trust root.pem --json
      leafgate diagnose 192.168.1.20:8883 --trust root.pem --connection-string @press-7.txt
      leafgate diagnose --chain served.pem --trust root.pem --name gw.factory.test --at 2026-12-24
      leafgate diagnose gw.factory.test:8883 --trust root.pem --save failure.zip
    """
    from leafsim import LeafError
    from leafsim.diagnose import Report
    from leafsim.diagnose.examine import examine, examine_files
    from leafsim.diagnose.text import lines

    if schema:
        typer.echo(json.dumps(Report.model_json_schema(), indent=2))
        return
    if (target is None) is (chain is None):
        raise LeafError("give HOST:PORT, or --chain FILE", "leafgate diagnose gw.factory.test:8883 --trust root.pem")
    moment = at.replace(tzinfo=UTC) if at else None
    if chain is not None:
        seen = examine_files(chain, name=name, trust=trust, at=moment)
    else:
        assert target is not None
        seen = examine(
            target,
            name=name,
            trust=trust,
            connection_string=None if connection_string is None else _read(connection_string),
            connecting=connecting,
            stacks=_known(stack or []),
            timeout=timeout,
        )
    report = seen.report
    typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if as_json else "\n".join(lines(report)))
    if save is not None:
        _save(save, seen, target, moment, timeout)
    if _EXIT[report.verdict]:
        raise typer.Exit(_EXIT[report.verdict])


def _save(path: Path, seen: Examination, target: str | None, moment: datetime | None, timeout: float) -> None:
    """Write the bundle, and say on stderr how to use it."""
    from certs.capture import parse_address
    from leafsim.diagnose import bundle, reach

    if not seen.served:
        sys.stderr.write("leafgate: nothing saved: no certificate was shown\n")
        return
    tls: tuple[str, ...] = ()
    if target is not None:
        tls = reach.spoken(reach.Where(*parse_address(target), seen.report.name, time.monotonic() + timeout))
    aside = bundle.save(path, seen, captured=moment or datetime.now(UTC), tls=tls)
    if aside is not None:
        sys.stderr.write(f"leafgate: what was at {path} is now {aside}\n")
    sys.stderr.write(f"leafgate: saved; the same chain with other keys: leafgate up --imitate {path}\n")


def _read(text: str) -> str:
    """A connection string comes as it is, as @FILE, or as - for standard input: then no list of processes has it."""
    from leafsim import LeafError

    if text == "-":
        return sys.stdin.read().strip()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise LeafError(f"{text[1:]}: cannot be read ({reason.lower()})", "check the path after @") from None


def _known(stacks: list[str]) -> list[str]:
    from leafsim import LeafError
    from leafsim.stacks import STACKS

    for unknown in (one for one in stacks if one not in STACKS):
        raise LeafError(f"there is no TLS stack {unknown!r} here", f"one of {', '.join(STACKS)}")
    return stacks


def why(
    message: Annotated[str, typer.Argument(metavar="ERROR", help="The message, or a whole traceback; - reads it.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Explain an error message: which causes produce it, in which TLS stacks, and how to see each of them here.

    Exit code 0: explained, 1: nobody is known to say this.

    \b
    Examples:
      leafgate why "unable to get local issuer certificate"
      my_device 2>&1 | leafgate why -
    """
    from leafsim.why import why as explain

    found = explain(sys.stdin.read() if message == "-" else message)
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found], indent=2, ensure_ascii=False))
    for one in found[:_TOLD] if not as_json else ():
        typer.echo(f"{one.rule}  {one.cause}")
        typer.echo(f"    tell  {one.tell}")
        typer.echo(f"    fix   {one.fix}")
        typer.echo(f"    who   {', '.join(one.stacks)}")
        typer.echo("\n".join(f"    see   {command}" for command in one.reproduce) + "\n")
    if found[_TOLD:] and not as_json:
        typer.echo(f"{len(found)} causes have this message; the others are:")
        typer.echo("\n".join(f"{one.rule}  {one.cause}" for one in found[_TOLD:]))
        typer.echo("\nwhich of them it is: leafgate diagnose HOST:8883 --trust root.pem")
    if not found:
        sys.stderr.write(
            "leafgate: no measured TLS stack says this, and no device SDK that is known here\n"
            "  hint: paste the innermost line of the traceback, or look at the gateway: leafgate diagnose HOST:8883\n"
        )
        raise typer.Exit(1)
