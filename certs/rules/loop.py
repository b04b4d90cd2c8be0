"""L: an authority bears the server certificate's name."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509

from certs import path
from certs.chain import Role
from certs.findings import Case, Problem, Severity, cn
from certs.loop import loop_between
from certs.x509io import extension

_OLD_OPENSSL = ("dotnet2.1-ossl1.0.2", "node8-ossl1.0.2")
#: case -> the measured chain like it, and the stacks that refused that for the loop alone
_LIKE = {
    "L1": ("loop-fulldn-wl-noids-noku", _OLD_OPENSSL),
    "L6": ("loop-hist-1.2", ()),
    "L7": ("loop-wl-cn", ()),
    "L7-no-ids": ("loop-wl-cn-noids", ()),
}
_SELF_ISSUED = {True: "loop-fulldn-direct-noids-ku", False: "loop-fulldn-direct-noids-noku-noroot"}


def loop(case: Case) -> Iterator[Problem]:
    """L1 to L7: the device CA bears the server certificate's name."""
    authorities = [one for one in case.path.certificates[1:] if not path.is_self_signed(one)]
    first, second = authorities[:1], authorities[1:2]
    workload = bool(first) and case.path.roles[1] is Role.WORKLOAD_CA
    found = None
    if workload and second:
        found = loop_between(case.sent[0], first[0], second[0])
    elif first or (case.path.missing is not None and case.path.missing == case.sent[0].subject):
        found = loop_between(case.sent[0], None, first[0] if first else case.sent[0])
    if found is None:
        yield from _higher_up(case, authorities[2 if workload else 1 :])
        return
    severity: Severity = "error" if found.verify_code else "warning" if found.refused_by else "note"
    rule = found.case.removesuffix("-no-ids").replace("name", "L")
    like, only = _LIKE.get(found.case, ("", ()))
    if found.case in ("L4", "L5"):
        like = _SELF_ISSUED[extension(case.sent[0], x509.KeyUsage) is not None]
    message = f"both are named {cn(case.sent[0])}"
    yield Problem(rule, severity, found.message, message, found.hint, 0, like=like, only=only)


def _higher_up(case: Case, authorities: list[x509.Certificate]) -> Iterator[Problem]:
    """An intermediate with the server's subject misleads old OpenSSL as a device CA does (L1)."""
    server = case.sent[0]
    if extension(server, x509.AuthorityKeyIdentifier) or extension(server, x509.KeyUsage):
        return
    if any(one.subject == server.subject for one in authorities):
        like, only = _LIKE["L1"]
        yield Problem(
            "L1", "warning", "CN loop: an intermediate has the server certificate's subject, which old OpenSSL refuses",
            f"both are named {cn(server)}", "give the intermediate another common name", 0, like=like, only=only,
        )  # fmt: skip
