"""`leafgate diagnose` and `leafgate why`."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

_EXIT = {"ok": 0, "fail": 1, "unreachable": 3}


def diagnose(
    target: Annotated[str | None, typer.Argument(metavar="HOST:PORT", show_default=False)] = None,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="What leaves call the gateway (GatewayHostName); the host by default.")
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
            help="A device's: judge it, and connect once as that device. - reads it from standard input.",
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
    as_json: Annotated[bool, typer.Option("--json", help="For programs; --schema shows the shape.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json and end.")] = False,
) -> None:
    """Say why leaves do not connect to a gateway: the cause, how one sees it, the fix, and who is affected.

    Nothing on the other side is changed, and no private key is needed; real gateways are welcome.
    Exit code 0: leaves on OpenSSL 3 connect, 1: a cause was found, 2: usage or a file, 3: not reached.

    \b
    Examples:
      leafgate diagnose gw.factory.test:8883 --trust root.pem
      leafgate diagnose 192.168.1.20:8883 --name gw.factory.test --trust root.pem --json
      leafgate diagnose --chain served.pem --trust root.pem --name gw.factory.test --at 2026-12-24
    """
    from datetime import UTC

    from leafsim import LeafError
    from leafsim.diagnose import Report, diagnose_files
    from leafsim.diagnose import diagnose as look
    from leafsim.diagnose.text import lines

    if schema:
        typer.echo(json.dumps(Report.model_json_schema(), indent=2))
        return
    if (target is None) is (chain is None):
        raise LeafError("give HOST:PORT, or --chain FILE", "leafgate diagnose gw.factory.test:8883 --trust root.pem")
    if chain is not None:
        report = diagnose_files(chain, name=name, trust=trust, at=at.replace(tzinfo=UTC) if at else None)
    else:
        assert target is not None
        report = look(
            target,
            name=name,
            trust=trust,
            connection_string=sys.stdin.read().strip() if connection_string == "-" else connection_string,
            connecting=connecting,
            stacks=_known(stack or []),
            timeout=timeout,
        )
    typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if as_json else "\n".join(lines(report)))
    if _EXIT[report.verdict]:
        raise typer.Exit(_EXIT[report.verdict])


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
    for one in found if not as_json else ():
        typer.echo(f"{one.rule}  {one.cause}")
        typer.echo(f"    fix  {one.fix}")
        if one.stacks:
            typer.echo(f"    who  {', '.join(one.stacks)}")
        typer.echo("\n".join(f"    see  {command}" for command in one.reproduce) + "\n")
    if not found:
        sys.stderr.write(
            "leafgate: no measured TLS stack says this, and no device SDK that is known here\n"
            "  hint: paste the innermost line of the traceback, or look at the gateway: leafgate diagnose HOST:8883\n"
        )
        raise typer.Exit(1)
