"""`leafgate check`.

Rule: only typer and the standard library are imported up here; the rest by the command.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"


def check(
    address: Annotated[
        str | None, typer.Argument(metavar="HOST:PORT", help="Edge Hub's MQTT port, connected to as a leaf does.")
    ] = None,
    *,
    config: Annotated[
        Path | None, typer.Option("--iotedge-config", metavar="FILE", help="The gateway's config.toml or config.yaml.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--config-root", metavar="DIR", help="Look up the configuration's files below this folder."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The ready file of a running `leafgate up`.")
    ] = None,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="The state folder of `leafgate up`.")] = None,
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What leaves trust [default: the trust bundle, or the root].")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What leaves call the gateway [default: its hostname].")
    ] = None,
    iothub_hostname: Annotated[
        str | None, typer.Option(metavar="HOST", help="Connect to this hub, also when it is another machine.")
    ] = None,
    https_port: Annotated[int | None, typer.Option(min=1, max=65535, metavar="PORT", help="If it is not 443.")] = None,
    amqp_port: Annotated[int | None, typer.Option(min=1, max=65535, metavar="PORT", help="If it is not 5671.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="For each connection.")] = 10.0,
    dont_run: Annotated[list[str] | None, typer.Option(metavar="ID", help="Leave this check out; repeatable.")] = None,
    warnings_as_errors: Annotated[
        bool, typer.Option("--warnings-as-errors", help="Let warnings fail the run.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say where each finding is seen.")] = False,
    output: Annotated[OutputFormat, typer.Option("-o", "--output", help="How to report.")] = OutputFormat.TEXT,
    list_checks: Annotated[bool, typer.Option("--list", help="Show all checks with their ids, and leave.")] = False,
) -> None:
    """Check a gateway as `iotedge check` does, as far as certificates and connections go, and what that leaves out.

    \b
    Examples:
      leafgate check --iotedge-config /etc/aziot/config.toml
      leafgate check gw.factory.test:8883 --trust root.pem --verbose
      leafgate check --ready-file ready.json --output json
    Exit codes: 0 no errors, 1 an error was found, 2 usage or a file that says what to check is wrong.
    """
    from scenarios.check import report
    from scenarios.check.command import run_check
    from scenarios.check.sources import Inputs

    if list_checks:
        typer.echo("\n".join(report.listing()))
        return
    inputs = Inputs(
        address=address,
        config=config,
        ready_file=ready_file,
        state=state,
        trust=trust,
        name=name,
        root=root,
        hub=iothub_hostname,
        https_port=https_port,
        amqp_port=amqp_port,
        timeout=timeout,
    )
    failed = run_check(
        inputs,
        sys.stdout,
        dont_run=dont_run or (),
        warnings_as_errors=warnings_as_errors,
        verbose=verbose,
        as_json=output is OutputFormat.JSON,
    )
    raise typer.Exit(int(failed))


# The front door passes these on to typer.
setattr(  # noqa: B010 - functions have no such attribute
    check,
    "command_settings",
    {"context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 110}},
)
