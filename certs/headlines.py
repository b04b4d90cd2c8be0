"""What each measured chain is about: the rule that its diagnosis begins with, and in a sentence what a rule says.

Rule: this repeats what `certs.diagnose` finds, so that an error message can be explained without building a chain;
tests/certs/test_prediction.py holds one against the other.
"""

from __future__ import annotations

from typing import NamedTuple

from certs.outcomes import outcomes


class Cause(NamedTuple):
    """What a rule says, and what to do."""

    cause: str
    fix: str


#: by rule, the most frequent in the field first
CAUSES = {
    "T1": Cause("the leaf does not trust the root of the gateway's chain", "install the gateway's root on the leaf"),
    "C1": Cause(
        "the gateway does not send an intermediate or a CA certificate",
        "put the full chain into the device CA file, then apply the configuration and restart",
    ),
    "T5": Cause(
        "the gateway runs on quickstart certificates",
        "configure a device CA below your root, and delete the certificates that the daemon made before",
    ),
    "N4": Cause(
        "GatewayHostName is not the name in the server certificate", "use exactly the gateway's configured hostname"
    ),
    "N1": Cause(
        "GatewayHostName is an IP address that the certificate does not name",
        "use the host name, or a certificate with the address (1.2 and later)",
    ),
    "E1": Cause("a certificate has expired", "renew it and what it signed, restart the gateway; compare the clocks"),
    "E2": Cause("a certificate is not valid yet", "compare the clocks of gateway and leaf (NTP)"),
    "T2": Cause(
        "the trusted root has the right name but another key: the root was made again",
        "copy the new root to the leaf and remove the old one",
    ),
    "C3": Cause(
        "the device CA was made again, and what its old key signed is still served",
        "let the gateway make its server certificate again (wipe it, restart)",
    ),
    "T4": Cause("the leaf trusts an authority in the middle and not the root", "let it trust the root"),
    "L4": Cause(
        "the device CA has the server certificate's name, and no key identifiers tell them apart",
        "give the device CA another common name (the scripts append .ca)",
    ),
    "L5": Cause(
        "the device CA has the server certificate's name and no subject key identifier",
        "give the device CA another common name, or a subject key identifier",
    ),
    "L7": Cause("the device CA has the workload CA's name", "give the device CA another common name"),
    "L1": Cause(
        "an authority has the server certificate's name, which OpenSSL before 1.1.0 takes for a loop",
        "give the device CA another common name, or update the leaf's OpenSSL",
    ),
    "L6": Cause("the device CA has the server certificate's name", "give the device CA another common name"),
    "A1": Cause("a certificate that is no CA signed another one", "make the device CA with CA:TRUE"),
    "A2": Cause("a CA may not sign certificates", "make it with keyUsage keyCertSign"),
    "A3": Cause("a CA allows fewer CAs below itself than there are", "make it with a greater path length or none"),
    "A4": Cause("a certificate is not for TLS servers", "make it with serverAuth, or without extendedKeyUsage"),
    "A5": Cause("a CA may sign for other names only, or has name constraints at all", "leave name constraints out"),
    "T3": Cause(
        "the root was renewed with its key, and what it signed names its earlier serial number",
        "make the certificates below the root again",
    ),
    "C4": Cause("a certificate points to another issuer than the one that signed it", "make it again"),
    "C2": Cause("the certificates are not sent in order", "order them from the server's to the root"),
    "N3": Cause("the name stands in the common name only", "make the server certificate with a subjectAltName"),
    "N2": Cause("the subjectAltName lacks the name that the common name has", "put it into the subjectAltName"),
    "N5": Cause(
        "the name is written in a form that does not count", "one A-label name, no dot at the end, no underscore"
    ),
    "W1": Cause("a key is too short, or a signature is SHA-1", "make it with RSA 2048 and SHA-256"),
    "W2": Cause("a serial number is 0 or used twice", "make one of the certificates again"),
    "W3": Cause("the chain is too long", "leave intermediates out"),
    "W4": Cause("key identifiers or usages are missing, which strict clients want", "make the certificates with them"),
    "D1": Cause("the port is not a TLS port, or nothing listens", "use 8883 for MQTT, 443 for HTTPS"),
    "D2": Cause("leaf and gateway have no TLS version in common", "allow TLS 1.2 or later on both"),
    "D3": Cause("leaf and gateway have no cipher suite in common", "compare key type and ciphers"),
    "D4": Cause("the gateway wants a client certificate", "give the leaf one, or do not require it"),
}
_HEADLINES = {
    "aki-mismatch": "C4", "aki-serial-mismatch": "C4", "bad-sig-noids": "C3",
    "cn-70-cnonly": "N3", "cn-only": "N3", "cn-only-case": "N3", "cn-only-cert-mixed": "N3",
    "devca-ca-false": "A1", "devca-ca-false-kuok": "A1", "devca-no-bc": "A1", "devca-no-bc-kuok": "A1",
    "devca-no-certsign": "A2", "devca-replaced": "C3", "dup-cert": "C2", "dup-serial-same-issuer": "C2",
    "dup-serials": "W2", "expired-devca": "E1", "expired-inter": "E1", "expired-root-notsent": "E1",
    "expired-srv": "E1", "expired-wl": "E1", "host-mismatch": "N4", "host-short-vs-fqdn": "N4", "idn-a-a": "N5",
    "idn-u-cn": "N5", "ip-as-dnssan": "N1", "ip-cn-only": "N1", "ip-no-ipsan": "N1", "leaf-only": "C1",
    "long-10": "W3", "long-15": "W3", "loop-1.0.3-devca-trusted": "T4", "loop-1.0.3-nobc": "L1",
    "loop-1.0.3-rdn-inherited": "N3", "loop-hist-1.0.3": "N3", "loop-hist-1.0.4": "W4", "loop-hist-1.2": "L6",
    "loop-hist-1.2-noski": "L5", "loop-hist-1.2-noski-rdn": "W4", "loop-hist-1.2-serial0": "L4",
    "loop-hist-1.2-serial0-rdn": "W2", "loop-hist-1.2-serial0-rootsent": "L4", "loop-inter-cn-noids": "L1",
    "loop-leaf-last-noids": "L1", "loop-root-cn-noids": "W4", "loop-wl-cn": "L7", "loop-wl-cn-noids": "L7",
    "miss-inter": "C1", "miss-wl": "C1", "nc-cnonly": "A5", "nc-ok": "A5", "nc-violation": "A5",
    "notyet-root": "E2", "notyet-srv": "E2", "notyet-wl": "E2", "ok-hist-1.2-noski": "W4",
    "ok-hist-1.2-serial0": "W2", "ok-iotedge-1.0.3": "W4", "order-reversed": "C2", "order-shuffled": "C2",
    "pathlen-inter0": "A3", "pathlen-root1": "A3", "quickstart-untrusted": "T5", "root-renewed-samekey": "T3",
    "rsa1024-devca": "W1", "rsa1024-srv": "W1", "san-only": "W4", "selfsigned-srv-trusted": "T1",
    "selfsigned-srv-untrusted": "T1", "sha1-devca": "W1", "sha1-srv": "W1", "srv-eku-client": "A4", "srv-is-ca": "A1",
    "stale-root-samename": "T2", "stale-root-samename-noroot": "T2", "trailing-dot-cert": "N5",
    "trust-devca-only": "T4", "trust-inter-only": "T4", "trust-srv-pinned": "T4", "underscore": "N5",
    "wildcard-cn": "N3", "wildcard-tld": "N5", "wl-eku-client": "A4", "wrong-root": "T1",
}  # fmt: skip
#: rows that are about TLS and not about certificates
_HANDSHAKES = {
    "cipher-ccm8": "D3", "cipher-rsa-kx": "D3", "mtls-required": "D4", "plain-port": "D1", "tls10-only": "D2",
    "tls12-only": "D2", "tls13-only": "D2",
}  # fmt: skip
#: the generated loops: who signed, which identifiers
_LOOPS = {
    ("fulldn", "direct", "aki"): "L6", ("fulldn", "direct", "devcanoski"): "L5", ("fulldn", "direct", "noids"): "L4",
    ("fulldn", "direct", "skionly"): "L4", ("fulldn", "wl", "devcanoski"): "W4", ("fulldn", "wl", "noids"): "L1",
    ("fulldn", "wl", "skionly"): "L1",
}  # fmt: skip


def rule_of(name: str) -> str | None:
    """Return the rule that a measured chain is about; None where every stack connected."""
    if name in _HEADLINES or name in _HANDSHAKES:
        return _HEADLINES.get(name) or _HANDSHAKES[name]
    if name.startswith(("loop-fulldn-", "loop-cnonly-")) and outcomes()[name].refused:
        _, subject, where, ids, usage, *_ = name.split("-")
        if subject == "cnonly" or (where, ids, usage) == ("wl", "noids", "ku"):
            return "W4"
        return _LOOPS[subject, where, ids]
    return None
