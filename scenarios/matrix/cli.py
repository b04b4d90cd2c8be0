"""`leafgate matrix`: a chain against every TLS stack at hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.matrix.table import Asking, Row

_ALL = "all"


def matrix(
    target: Annotated[
        str | None,
        typer.Argument(metavar="CHAIN|HOST:PORT|SCENARIO|all", show_default=False, help="What to show to the stacks."),
    ] = None,
    *,
    name: Annotated[str | None, typer.Option("--name", help="What leaves call the gateway (HOST:PORT, CHAIN).")] = None,
    trust: Annotated[Path | None, typer.Option("--trust", help="PEM file with the root that leaves trust.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="With CHAIN: the server certificate's private key.")] = None,
    stack: Annotated[list[str] | None, typer.Option("--stack", help="Only this stack. Repeatable.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for each handshake.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    install: Annotated[
        list[str] | None, typer.Option("--install", metavar="node8|node10|node12", help="Fetch this stack with npm.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the stacks at hand, and how to get others.")] = False,
) -> None:
    """Let every TLS stack at hand judge a chain, beside what 26 stacks said when they were measured.

    SCENARIO is a measured chain (`leafgate certs measured`) or one of `leafgate list`; `all` are all measured chains.
    CHAIN is a PEM file, or the bundle of `leafgate diagnose --save`; without its key it is served with another one.
    Exit code 0: done, 1: a stack says something else than was measured, 2: usage or a file, 3: not reached.

    \b
    Examples:
      leafgate matrix miss-inter
      leafgate matrix localhost:8883 --trust root.pem --name gw.factory.test
      leafgate matrix failure.zip
      leafgate matrix all --stack python --stack openssl
      leafgate matrix --install node8
    """
    from scenarios.matrix import sources, text
    from scenarios.matrix.table import Asking
    from scenarios.reports.text import Style

    if install:
        return _install(install)
    asking = Asking(tuple(_stacks(stack or [])), timeout, name, trust, key)
    if listing or target is None:
        return _list()
    rows = _all(asking) if target == _ALL else [sources.row(target, asking)]
    if as_json:
        found = {"version": 1, "rows": [row.as_json() for row in rows]}
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        style = Style.of(sys.stdout)
        typer.echo("\n".join(text.grid(rows, style) if target == _ALL else text.one(rows[0], style)))
    if any(row.differences for row in rows):
        raise typer.Exit(1)
    if all(row.nobody_reached for row in rows):
        raise typer.Exit(3)
    return None


def _all(asking: Asking) -> list[Row]:
    from certs.outcomes import outcomes
    from scenarios.matrix import table

    names = list(outcomes())
    shown = sys.stderr.isatty()

    def begun(name: str) -> None:
        if shown:
            sys.stderr.write(f"\r\x1b[K{names.index(name) + 1}/{len(names)} {name}")

    rows = list(table.measured_rows(names, asking, begun))
    if shown:
        sys.stderr.write("\r\x1b[K")
    return rows


def _stacks(wanted: list[str]) -> list[str]:
    from leafsim import STACKS
    from scenarios.errors import ScenariosError
    from scenarios.matrix.table import at_hand

    for unknown in (one for one in wanted if one not in STACKS):
        raise ScenariosError(f"there is no TLS stack {unknown!r} here", f"one of {', '.join(STACKS)}")
    for name in wanted:
        if reason := STACKS[name].available():
            raise ScenariosError(f"the TLS stack {name} is not at hand: {reason}", "`leafgate matrix --list` shows all")
    return at_hand(wanted)


def _list() -> None:
    from leafsim import STACKS

    width = max(map(len, STACKS))
    for name, stack in STACKS.items():
        reason = stack.available()
        typer.echo(f"{name:<{width}}  {f'- {reason}' if reason else stack.version()}")
    typer.echo("\nGive a chain to judge: leafgate matrix miss-inter, or leafgate matrix all")


def _install(names: list[str]) -> None:
    from leafsim import STACKS
    from leafsim.stacks.node import OldNodeStack
    from scenarios.errors import CannotPlayError, ScenariosError

    for name in names:
        stack = STACKS.get(name)
        if not isinstance(stack, OldNodeStack):
            known = ", ".join(one.name for one in STACKS.values() if isinstance(one, OldNodeStack))
            raise ScenariosError(f"{name!r} cannot be fetched", f"one of {known}; others come with the system or pip")
        sys.stderr.write(f"leafgate: fetching Node.js {stack.package} with npm ...\n")
        try:
            stack.install()
        except OSError as error:
            hint = "is npm on PATH, and can it reach its registry?"
            raise CannotPlayError(f"{name} could not be fetched: {error}", hint) from None
        typer.echo(f"{name}  {stack.version()}  in {stack.folder}")
