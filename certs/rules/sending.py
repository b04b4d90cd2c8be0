"""C: what is sent, is it complete and in order."""

from __future__ import annotations

from collections.abc import Iterator

from certs.chain import Role
from certs.findings import Case, Problem, cn
from certs.names import common_name


def gap(case: Case) -> Iterator[Problem]:
    """C1: an issuer is neither sent nor trusted."""
    way = case.path
    if way.missing is None or (case.trust is None and not way.unused):
        return  # without knowing what is trusted, the top issuer may well be the leaf's root
    if case.trust is not None and not way.unused and (way.roles[-1] is Role.INTERMEDIATE or case.ends_at_quickstart):
        return  # told as T1 or T5
    if any(one in (case.trust or ()) for one in way.certificates):
        return  # told as T4
    last = way.steps[-1]
    yield Problem(
        "C1", "error", f'a certificate is missing: "{common_name(way.missing)}" is neither sent nor trusted',
        f"it issued {cn(last.certificate)} ({way.roles[-1]})",
        "put the full chain into the device CA file, from the device CA up to the root", last.index, like="miss-inter",
    )  # fmt: skip


def order(case: Case) -> Iterator[Problem]:
    """C2: everything is there, but not leaf to root; or something is sent that does not belong."""
    indexes = [step.index for step in case.path.steps if step.index is not None]
    unused = case.path.unused if case.path.missing is None and not case.path.wrong_key else ()
    names = f"order: {', '.join(map(cn, case.sent))}"
    if indexes != sorted(indexes):
        yield Problem(
            "C2", "warning", "the certificates are not sent in order from the server's to the root", names,
            "order them leaf to root; Mbed TLS, wolfSSL and BearSSL refuse otherwise", like="order-reversed",
        )  # fmt: skip
    elif unused:
        between = min(unused) < max(indexes)
        yield Problem(
            "C2", "warning" if between else "note", "a certificate is sent that is no part of the chain",
            f"{names}; no part of the chain: {', '.join(cn(case.sent[at]) for at in unused)}",
            "send the chain alone" + ("; BearSSL refuses otherwise" if between else ""), unused[0],
            like="dup-serial-same-issuer" if between else "", only=("bearssl-0.6",),
        )  # fmt: skip
    yield from _twice(case)


def _twice(case: Case) -> Iterator[Problem]:
    doubles = [at for at, one in enumerate(case.sent) if one in case.sent[:at]]
    if doubles:
        at = doubles[0]
        again_last = case.sent[at] == case.sent[0]
        yield Problem(
            "C2", "note", "a certificate is sent twice", cn(case.sent[at]), "send each once", at,
            like="loop-leaf-last-noids" if again_last else "dup-cert",
            only=("wolfssl-5.5",) if again_last else (),
        )  # fmt: skip


def replaced(case: Case) -> Iterator[Problem]:
    """C3: the issuer is there by name, but its key did not sign."""
    wrong = case.path.wrong_key
    if wrong is not None and wrong.index is not None:
        below = case.path.steps[-1]
        yield Problem(
            "C3", "error", f"{cn(wrong.certificate)} was made again, and what its old key signed is still served",
            f"{cn(below.certificate)} names it as issuer, but its key did not sign that certificate",
            "let the gateway make its workload CA and server certificates again (wipe them, restart)", below.index,
            like="devca-replaced",
        )  # fmt: skip
