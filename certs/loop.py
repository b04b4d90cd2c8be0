"""The common-name loop: when it really fails, where, and what the documentation's rule is worth today.

Rule: the trigger is never the common name as such but the whole subject (path builders look issuers up by it), and
then it depends on who signed the server certificate and on the key identifiers. Each case below was measured against
26 TLS stacks; the newest of each are named in docs/certificates.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from certs.chain import Chain, Role
from certs.names import common_name, first_equal
from certs.x509io import extension

_OPENSSL = ("Python", "paho", "OpenSSL s_client", "curl", "Node.js", ".NET Core on Linux", "NSS")
_DOTNET_21 = (".NET Core 2.1",)


@dataclass(frozen=True)
class LoopWarning:
    """A loop in a hierarchy: which case, and who refuses it."""

    case: str  # L1 to L7; "name" where only the documentation's rule is broken
    refused_by: tuple[str, ...]
    verify_code: int | None  # what OpenSSL 3 answers
    message: str
    hint: str


_TRY_12 = "today's OpenSSL accepts this one; to see it refused, try --generation 1.2"
#: case -> (refused by, verify code of OpenSSL 3, what is there, what to do)
_CASES: dict[str, tuple[tuple[str, ...], int | None, str, str]] = {
    "L1": (
        ("OpenSSL before 1.1.0: Node.js 8, .NET Core 2.1 on OpenSSL 1.0.2",),
        None,
        "the server certificate has the device CA's subject below a workload CA, without key usage and key identifiers",
        _TRY_12,
    ),
    "L2": (
        (),
        None,
        "the server certificate has the device CA's subject below a workload CA; its key usage shows that it is no CA",
        _TRY_12,
    ),
    "L3": (
        (),
        None,
        "the server certificate has the device CA's subject below a workload CA; key identifiers tell them apart",
        _TRY_12,
    ),
    "L4": (
        _OPENSSL,
        18,
        "the device CA signed a server certificate with its own subject and without authority key identifier, "
        "so the server certificate looks self-signed",
        "give the device CA another common name (the scripts append .ca)",
    ),
    "L5": (
        _OPENSSL,
        18,
        "the device CA, which has no subject key identifier, signed a server certificate with its own subject, which "
        "therefore has no authority key identifier and looks self-signed",
        "give the device CA another common name (the scripts append .ca), or a subject key identifier",
    ),
    "L6": (
        _DOTNET_21,
        None,
        "the device CA signed a server certificate with its own subject; key identifiers tell them apart",
        _TRY_12,
    ),
    "L7": (
        _DOTNET_21,
        None,
        "the workload CA has the device CA's subject; key identifiers tell them apart",
        "name the device CA otherwise; with --defect no-key-ids OpenSSL refuses it",
    ),
    "L7-no-ids": (
        _OPENSSL,
        19,
        "the workload CA has the device CA's subject and no authority key identifier, so it looks self-signed",
        "give the device CA another common name (the scripts append .ca)",
    ),
    "name": (
        (),
        None,
        "the device CA has the gateway's common name but another subject, which no TLS stack takes for a loop",
        _TRY_12,
    ),
}


def loop_warning(chain: Chain) -> LoopWarning | None:
    """Return the loop in this hierarchy and who refuses it, or None."""
    if not chain.has(Role.DEVICE_CA):
        return None
    workload_ca = chain.level(Role.WORKLOAD_CA).certificate if chain.has(Role.WORKLOAD_CA) else None
    return loop_between(chain.server.certificate, workload_ca, chain.level(Role.DEVICE_CA).certificate)


def loop_between(
    server: x509.Certificate, workload_ca: x509.Certificate | None, device_ca: x509.Certificate
) -> LoopWarning | None:
    """Return the loop between these certificates of one hierarchy, or None."""
    case = _case(server, workload_ca, device_ca)
    if case is None:
        return None
    refused_by, code, what, hint = _CASES[case]
    whom = f"refused by {', '.join(refused_by)}" if refused_by else "refused by no TLS stack that was measured"
    return LoopWarning(case, refused_by, code, f"CN loop: {what}; {whom}", hint)


def _case(server: x509.Certificate, workload_ca: x509.Certificate | None, device_ca: x509.Certificate) -> str | None:
    if workload_ca and workload_ca.subject == device_ca.subject:
        return "L7" if _has_authority(workload_ca) else "L7-no-ids"
    if server.subject == device_ca.subject:
        if workload_ca:
            return _below_workload_ca(server)
        if _has_authority(server):
            return "L6"
        return "L5" if _has_key_id(server) and not _has_key_id(device_ca) else "L4"
    return "name" if first_equal(common_name(device_ca.subject), [common_name(server.subject)]) else None


def _below_workload_ca(server: x509.Certificate) -> str:
    if _has_authority(server):
        return "L3"
    return "L1" if extension(server, x509.KeyUsage) is None else "L2"


def _has_key_id(certificate: x509.Certificate) -> bool:
    return extension(certificate, x509.SubjectKeyIdentifier) is not None


def _has_authority(certificate: x509.Certificate) -> bool:
    return extension(certificate, x509.AuthorityKeyIdentifier) is not None
