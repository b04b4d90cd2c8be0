"""T: the way up ends at something that the leaf does not trust."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from cryptography import x509

from certs.chain import Role
from certs.findings import Case, Problem, cn
from certs.names import common_name
from certs.path import Path, is_pointed_to
from certs.x509io import extension, public_key_id


def trust(case: Case) -> Iterator[Problem]:
    """T1, T2, T4, T5: is the top trusted?"""
    if case.trust is None:
        return
    top = case.path.steps[-1]
    namesakes = [one for one in case.trust if one.subject == _top_name(case.path)]
    if case.path.wrong_key is None and case.path.missing is None:
        if top.certificate in case.trust:
            yield from _self_signed_server(case)
        elif any(one in case.trust for one in case.path.certificates):
            yield _partial(case)
        else:
            yield _untrusted_root(case, namesakes)
    elif case.path.wrong_key is not None and case.path.wrong_key.index is None:
        yield _same_name_other_key(case)
    elif any(one in case.trust for one in case.path.certificates):
        yield _partial(case)
    elif case.ends_at_quickstart:
        yield _quickstart(case)
    elif case.path.roles[-1] is Role.INTERMEDIATE:
        yield Problem(
            "T1", "error", "the leaf does not trust the root of this chain",
            f'{cn(top.certificate)} was issued by "{_top_cn(case)}", which is neither sent nor trusted',
            f'install the root "{_top_cn(case)}" on the leaf', top.index, like="miss-inter",
        )  # fmt: skip


def _partial(case: Case) -> Problem:
    walked = zip(case.path.roles, case.path.certificates, strict=True)
    role, trusted = next((role, one) for role, one in walked if one in (case.trust or ()))
    likes = {Role.SERVER: "trust-srv-pinned", Role.INTERMEDIATE: "trust-inter-only"}
    return Problem(
        "T4", "error", "the leaf trusts an authority in the middle and not the root",
        f"trusted: {cn(trusted)}, which is not self-signed",
        "trust the root; OpenSSL takes an intermediate only with partial chains allowed",
        like=likes.get(role, "trust-devca-only"),
    )  # fmt: skip


def _self_signed_server(case: Case) -> Iterator[Problem]:
    if case.path.roles[-1] is Role.SERVER and len(case.path.steps) == 1:
        yield Problem(
            "T1", "warning", "the server certificate is its own root, which .NET, NSS and old Node.js refuse",
            f"{cn(case.sent[0])} is self-signed and trusted", "have it signed below a root that the leaf trusts", 0,
            like="selfsigned-srv-trusted",
        )  # fmt: skip


def _like_pointer(lower: x509.Certificate, upper: x509.Certificate) -> str:
    pointer = extension(lower, x509.AuthorityKeyIdentifier)
    subject = extension(upper, x509.SubjectKeyIdentifier)
    named = pointer.key_identifier if pointer else None
    return "aki-mismatch" if named and subject and named != subject.digest else "aki-serial-mismatch"


def _top_name(way: Path) -> x509.Name:
    return way.missing or way.steps[-1].certificate.issuer


def _top_cn(case: Case) -> str:
    return common_name(_top_name(case.path))


def _untrusted_root(case: Case, namesakes: list[x509.Certificate]) -> Problem:
    top = case.path.steps[-1]
    if any(public_key_id(one) == public_key_id(top.certificate) for one in namesakes):
        return _renewed(case)
    if namesakes:
        return _same_name_other_key(case)
    if case.path.roles[-1] is Role.SERVER:
        return Problem(
            "T1", "error", "the server certificate is self-signed and not trusted",
            f"{_top_cn(case)} is its own issuer", "have it signed below a root that the leaf trusts", top.index,
            like="selfsigned-srv-untrusted",
        )  # fmt: skip
    if case.path.roles[-1] is not Role.ROOT:
        return _quickstart(case)
    trusted = ", ".join(cn(one) for one in case.trust or ()) or "nothing"
    return Problem(
        "T1", "error", "the leaf does not trust the root of this chain", f"root: {_top_cn(case)}; trusted: {trusted}",
        f'install the root "{_top_cn(case)}" on the leaf', top.index, like="wrong-root",
    )  # fmt: skip


def _quickstart(case: Case) -> Problem:
    return Problem(
        "T5", "error", "the gateway runs on quickstart certificates, which no leaf trusts by itself",
        f"the top is the self-signed {_top_cn(case)}", "configure a device CA below your root on the gateway",
        case.path.steps[-1].index, like="quickstart-untrusted",
    )  # fmt: skip


def _renewed(case: Case) -> Problem:
    return Problem(
        "T3", "error", "the trusted root was renewed with its key, and what it signed still points to the earlier one",
        f'authority key identifiers name an earlier serial number of "{_top_cn(case)}"',
        "make the certificates below the root again, or trust the earlier root", case.path.steps[-1].index,
        like="root-renewed-samekey",
    )  # fmt: skip


def pointers(case: Case) -> Iterator[Problem]:
    """T3, C4: the issuer's key signed, but the authority key identifier means another certificate."""
    for lower, upper in pairwise(case.path.steps):
        if is_pointed_to(lower.certificate, upper.certificate):
            continue
        if upper.index is None and upper is case.path.steps[-1]:
            yield _renewed(case)
        else:
            yield Problem(
                "C4", "error",
                f"{cn(lower.certificate)} points to another issuer than {cn(upper.certificate)}, which signed it",
                "its authority key identifier differs from the issuer's key id or serial number",
                "make it again below the issuer that is in use", lower.index,
                like=_like_pointer(lower.certificate, upper.certificate),
            )  # fmt: skip


def _same_name_other_key(case: Case) -> Problem:
    return Problem(
        "T2", "error", "the trusted root has the right name but another key: the root was made again",
        f'"{_top_cn(case)}" is trusted, but its key did not sign this chain',
        "copy the new root to the leaf and remove the old one", case.path.steps[-1].index, like="stale-root-samename",
    )  # fmt: skip
