"""Checks of what Edge Hub serves, as a leaf sees it; the product makes none of them.

Rule: the judgement is that of certs' diagnose rules; each family of them is told by one check, or by the two of expiry.
What a leaf on OpenSSL really does is edge-hub-tls-handshake.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes

from certs.findings import cn
from certs.path import find
from certs.rules.validity import outside
from certs.x509io import public_key_id
from scenarios.check.files import expiry
from scenarios.check.model import Fact, Finding, Looked, check, error, told, warning
from scenarios.check.subject import EDGE_CA, Subject


@check("edge-hub-tls-handshake", "leaf devices can perform TLS handshake with Edge Hub")
def tls_handshake(subject: Subject) -> Looked:
    """A leaf on OpenSSL, with what leaves trust and the name that they use, completes the handshake."""
    outcome = subject.handshake
    yield Fact("stack", outcome.version)
    yield Fact("name", subject.name)
    if not outcome.ok:
        yield error(
            f"a leaf device that trusts {subject.trust} and connects to {subject.name} is refused: {outcome.message}",
            f"{outcome.stack} [{outcome.version}]: {outcome.code}",
        )


@check("edge-hub-server-certificate-expiry", "Edge Hub's server certificate is within its time")
def server_certificate_expiry(subject: Subject) -> Looked:
    """The first certificate served is valid now. Edge Hub renews it minutes before its end: no warning before that."""
    server = subject.served[0]
    yield Fact("common_name", cn(server))
    yield Fact("not_before", server.not_valid_before_utc.isoformat())
    yield Fact("not_after", server.not_valid_after_utc.isoformat())
    yield Fact("sha256", server.fingerprint(hashes.SHA256()).hex())
    for problem in subject.problems:
        if problem.rule.startswith("E") and problem.certificate == 0:
            yield Finding.of(problem)


@check("edge-hub-chain-expiry", "certificates above Edge Hub's are within their time")
def chain_expiry(subject: Subject) -> Looked:
    """Each authority of the chain, the trusted root included, is valid now and for another seven days."""
    trust = subject.trusted if subject.trust else ()
    above = find(subject.served, trust).certificates[1:]
    yield from expiry(above, "served chain", subject.now)


@check("edge-hub-server-certificate-names", "Edge Hub's server certificate names the hostname")
def server_certificate_names(subject: Subject) -> Looked:
    """The name that leaves use is in the certificate, where every TLS stack looks for it."""
    yield Fact("name", subject.name)
    yield from told(subject.problems, "N")


@check("edge-hub-chain-complete", "Edge Hub serves its whole chain, in order")
def chain_complete(subject: Subject) -> Looked:
    """Every issuer up to what leaves trust is sent, from the server's certificate upwards, and signed what is below."""
    yield Fact("served", [cn(one) for one in subject.served])
    yield from told(subject.problems, "C")


@check("edge-hub-chain-authorities", "authorities and purposes in Edge Hub's chain are right")
def chain_authorities(subject: Subject) -> Looked:
    """CA:TRUE, key usage, path lengths and extended key usage of the served chain are right."""
    yield from told(subject.problems, "A")


@check("edge-hub-trust", "leaf devices trust the root of Edge Hub's chain")
def trust(subject: Subject) -> Looked:
    """What leaves trust (--trust, trust bundle, ready file's root) is the root that the served chain reaches."""
    yield Fact("trust", [cn(one) for one in subject.trusted[:20]])
    yield from told(subject.problems, "T")


@check("edge-hub-cn-loop", "Edge Hub's chain has no CN loop")
def cn_loop(subject: Subject) -> Looked:
    """No authority bears the server certificate's subject; a loop that no current stack minds is a warning."""
    yield from told(subject.problems, "L", notes=True)


@check("edge-hub-tls-stacks", "Edge Hub's chain suits every TLS stack")
def tls_stacks(subject: Subject) -> Looked:
    """Strict clients and small TLS stacks refuse chains that OpenSSL takes; who they are was measured."""
    yield from told(subject.problems, "W")


@check("edge-hub-serves-device-ca", "Edge Hub serves the configured device CA")
def serves_device_ca(subject: Subject) -> Looked:
    """The served chain goes through the configured device CA, not through quickstart or older certificates."""
    configured = subject.readable(EDGE_CA)[0]
    served = find(subject.served, subject.readable(EDGE_CA)).certificates
    yield Fact("served_by", [cn(one) for one in served])
    if configured in served:
        return
    same_key = [one for one in served[1:] if public_key_id(one) == public_key_id(configured)]
    if same_key:
        yield warning(
            f"Edge Hub serves an earlier certificate of the same device CA, {cn(same_key[0])}\n"
            "iotedge config apply, then restart Edge Hub, to serve the configured one"
        )
        return
    yield error(
        f"Edge Hub does not serve the configured device CA, {cn(configured)}: {' < '.join(map(cn, served))}\n"
        "apply the configuration; if that was done, remove the certificates that the daemon keeps and restart it"
    )


@check("host-local-time", "host time is close to the certificates' time")
def host_local_time(subject: Subject) -> Looked:
    """The product asks an NTP server; from here a clock shows itself only against all certificates together."""
    certificates = subject.served
    yield Fact("time", subject.now.isoformat(timespec="seconds"))
    rules = {(found := outside(one, subject.now)) and found.rule for one in certificates}
    if rules == {"E2"}:
        yield error(
            f"the host's time is {subject.now:%Y-%m-%d %H:%M:%S UTC}, before every certificate of the chain begins\n"
            "set the clock (NTP); a board without a battery starts in 1970"
        )
    elif rules == {"E1"}:
        yield warning(
            f"the host's time is {subject.now:%Y-%m-%d %H:%M:%S UTC}, after every certificate of the chain has ended\n"
            "compare the clock with real time before renewing all of them"
        )
