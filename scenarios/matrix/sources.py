"""What else can be shown to the stacks: a running server, a chain in a file, a scenario's gateway."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from certs import Chain, files, load_certificates
from certs.capture import parse_address
from certs.chain import Level, Role, Template
from certs.keys import load_key
from certs.names import common_name
from certs.outcomes import outcomes
from scenarios.catalogue import find
from scenarios.chainplan import trusted
from scenarios.errors import ScenariosError, UnknownScenarioError
from scenarios.load import load
from scenarios.matrix.server import serving
from scenarios.matrix.table import Asking, Row, measured_row
from scenarios.stage import chains_for

_PEM = (".pem", ".crt", ".cer")


def row(target: str, asking: Asking) -> Row:
    """Return what the stacks say to a measured chain, HOST:PORT, a PEM file or a scenario.

    Raises ScenariosError or CertsError for what there is not.
    """
    if target in outcomes():
        return measured_row(target, asking)
    path = Path(target)
    if path.suffix in _PEM or asking.key is not None:
        return _of_file(path, asking)
    if path.exists() or ":" not in target:
        return _of_scenario(target, asking)
    host, port = parse_address(target)
    if asking.trust is not None:
        files.read_certificates(asking.trust)  # a file that cannot be used is no verdict on the server
    called = asking.name or host
    return Row(target, f"as {called}", asking.ask(port, called, asking.trust, host))


def _of_file(path: Path, asking: Asking) -> Row:
    if asking.key is None or asking.trust is None:
        raise ScenariosError(
            f"{path} cannot be served without its key and a root to trust",
            f"leafgate matrix {path} --key KEY.pem --trust root.pem; without a key: leafgate diagnose --chain {path}",
        )
    served, private = files.read_certificates(path), load_key(files.read(asking.key))
    level = Level(Role.SERVER, Template.of(served[0]), served[0], private)
    called = asking.name or common_name(served[0].subject)
    chain = Chain(called, "file", (level,), tuple(served), tuple(files.read_certificates(asking.trust)))
    with serving(chain) as (port, trust):
        return Row(str(path), f"as {called}", asking.ask(port, called, trust))


def _of_scenario(target: str, asking: Asking) -> Row:
    try:
        found = find([target])
    except UnknownScenarioError as unknown:
        hint = "`leafgate certs measured` and `leafgate list` show what there is"
        raise UnknownScenarioError(f"there is no chain, file or scenario {target!r}", hint) from unknown
    if len(found) > 1:
        raise ScenariosError(f"{target} is {len(found)} scenarios", "give one of `leafgate list`")
    loaded = load(found[0])
    configured, served = chains_for(loaded.scenario, seed=None)
    leaf = next(iter(loaded.scenario.leaves.values()), None)
    called = (leaf.gateway_host_name if leaf else None) or served.hostname
    word = leaf.trust if leaf else "root"
    anchors = () if word == "none" else load_certificates(_trust(word, configured, found[0]))
    with serving(replace(served, trust=tuple(anchors))) as (port, trust):
        return Row(loaded.name, loaded.claim, asking.ask(port, called, trust if anchors else None))


def _trust(word: str, chain: Chain, scenario: Path) -> bytes:
    try:
        return trusted(word, chain)
    except ValueError:
        return files.read(scenario.parent / word)
