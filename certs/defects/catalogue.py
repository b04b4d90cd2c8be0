"""The catalogue of ways in which a hierarchy can be wrong: name -> one small function Chain -> Chain.

Rules: a defect changes what its sentence says and nothing else, and defects combine in any order, but for those that
say what is sent or trusted in the end. `verify_code` is what OpenSSL 3 answers to the `documented` chain with that
defect when a leaf connects by the host name, None where it accepts it; tests/certs/test_defects.py proves each by a
handshake. The other stacks: docs/certificates.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from certs.chain import Chain, Template
from certs.errors import CertsError, UnknownDefectError

Change = Callable[[Chain], Chain]
Rewrite = Callable[[Template], Template]


@dataclass(frozen=True)
class Defect:
    """One entry of the catalogue."""

    name: str
    summary: str
    verify_code: int | None  # X509_V_ERR_..., None: OpenSSL 3 accepts it
    apply: Change
    theme: str


DEFECTS: dict[str, Defect] = {}


def apply_defects(chain: Chain, names: Iterable[str]) -> Chain:
    """Return the chain with all these defects."""
    wanted = list(names)
    for unknown in (one for one in wanted if one not in DEFECTS):
        raise UnknownDefectError(unknown, tuple(DEFECTS))
    for one in wanted:
        chain = DEFECTS[one].apply(chain)
    return chain


def theme(title: str) -> Callable[[int | None], Callable[[Change], Change]]:
    """Return the decorator that enters functions of one theme under their own names; docstrings are the summaries."""

    def defect(verify_code: int | None) -> Callable[[Change], Change]:
        def enter(change: Change) -> Change:
            name = change.__name__.replace("_", "-")
            DEFECTS[name] = Defect(name, " ".join((change.__doc__ or "").split()), verify_code, change, title)
            return change

        return enter

    return defect


def impossible(chain: Chain, defect: str, why: str) -> CertsError:
    """Return the error for a chain that cannot have a defect."""
    return CertsError(f"defect {defect!r} cannot be built into this chain of generation {chain.generation}: {why}")
