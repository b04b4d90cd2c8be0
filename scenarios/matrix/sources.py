"""What else can be shown to the stacks: a running server, a chain in a file, a scenario's gateway."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from certs import CachedKeys, Chain, files, load_certificates
from certs.capture import capture, parse_address
from certs.chain import Level, Role, Template
from certs.errors import CaptureError
from certs.imitation import imitate
from certs.keys import load_key
from certs.names import common_name
from certs.outcomes import outcomes
from leafsim.diagnose import bundle
from scenarios.catalogue import find
from scenarios.chainplan import trusted
from scenarios.errors import ScenariosError, UnknownScenarioError
from scenarios.load import load
from scenarios.matrix.server import serving
from scenarios.matrix.table import Asking, Row, measured_row, predicted_row
from scenarios.stage import chains_for

_PEM = (".pem", ".crt", ".cer")


def row(target: str, asking: Asking) -> Row:
    """Return what the stacks say to a measured chain, HOST:PORT, a PEM file or a scenario.

    Raises ScenariosError or CertsError for what there is not.
    """
    if target in outcomes():
        return measured_row(target, asking)
    path = Path(target)
    if path.suffix in (*_PEM, ".zip") or asking.key is not None:
        return _of_file(path, asking)
    if path.exists() or ":" not in target:
        return _of_scenario(target, asking)
    return _of_server(target, asking)


def _of_server(target: str, asking: Asking) -> Row:
    host, port = parse_address(target)
    called = asking.name or host
    # a file that cannot be used is no verdict on the server
    trust = None if asking.trust is None else files.read_certificates(asking.trust)
    answers = asking.ask(port, called, asking.trust, host)
    try:
        served = capture(host, port, server_name=called, timeout=asking.timeout)
    except CaptureError:
        return Row(target, f"as {called}", answers)
    return predicted_row(target, called, served, trust, answers)


def _of_file(path: Path, asking: Asking) -> Row:
    """A chain as it would be served: with its own key, or else imitated, which no stack can tell."""
    if path.suffix == ".zip":
        seen = bundle.load(path)
        served, trust, name = list(seen.served), seen.trusted, seen.report.name
    else:
        served, trust = files.read_certificates(path), None
        name = common_name(served[0].subject)
    if asking.trust is not None:
        trust = tuple(files.read_certificates(asking.trust))
    if trust is None:
        raise ScenariosError(f"{path}: what leaves trust is not known", f"leafgate matrix {path} --trust root.pem")
    called = asking.name or name
    if asking.key is None:
        chain = imitate(served, trust, hostname=called, keys=CachedKeys())
    else:
        level = Level(Role.SERVER, Template.of(served[0]), served[0], load_key(files.read(asking.key)))
        chain = Chain(called, "file", (level,), tuple(served), tuple(trust))
    with serving(chain) as (port, file):
        return predicted_row(str(path), called, served, trust, asking.ask(port, called, file))


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
        answers = asking.ask(port, called, trust if anchors else None)
    return replace(predicted_row(loaded.name, called, served.sent, anchors, answers), summary=loaded.claim)


def _trust(word: str, chain: Chain, scenario: Path) -> bytes:
    try:
        return trusted(word, chain)
    except ValueError:
        return files.read(scenario.parent / word)
