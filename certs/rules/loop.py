"""L: the device CA bears the server certificate's name."""

from __future__ import annotations

from collections.abc import Iterator

from certs import path
from certs.chain import Role
from certs.findings import Case, Problem, Severity, cn
from certs.loop import loop_between


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
    if found:
        severity: Severity = "error" if found.verify_code else "warning" if found.refused_by else "note"
        rule = found.case.removesuffix("-no-ids").replace("name", "L")
        yield Problem(rule, severity, found.message, f"both are named {cn(case.sent[0])}", found.hint, 0)
