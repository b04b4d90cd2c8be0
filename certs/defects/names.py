"""Names: what the server certificate is for, and common names that repeat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.chain import Chain, Role, Template
from certs.defects.catalogue import impossible, theme
from certs.names import name
from certs.rekey import renamed

defect = theme("names")


@defect(None)
def no_san(chain: Chain) -> Chain:
    """The server certificate has no subjectAltName; Go, rustls and cryptography do not look at the common name."""
    return chain.reissue(Role.SERVER, lambda old: old.without(x509.SubjectAlternativeName))


@defect(62)
def san_without_hostname(chain: Chain) -> Chain:
    """The server certificate's subjectAltName names something else; then the common name does not count."""
    other = "edgehub" if chain.hostname.lower() != "edgehub" else "other.test"
    names = x509.SubjectAlternativeName([x509.DNSName(other)])
    return chain.reissue(Role.SERVER, lambda old: old.with_extension(names))


@defect(None)
def ip_as_dns_san(chain: Chain) -> Chain:
    """IP addresses stand in the subjectAltName as DNS names, as up to 1.1: who connects by address is refused."""

    def change(old: Template) -> Template:
        san = old.get(x509.SubjectAlternativeName)
        names = [one for one in san or () if not isinstance(one, x509.IPAddress)]
        addresses = [str(one.value) for one in san or () if isinstance(one, x509.IPAddress)] or ["127.0.0.1"]
        return old.with_extension(x509.SubjectAlternativeName([*names, *map(x509.DNSName, addresses)]))

    return chain.reissue(Role.SERVER, change)


@defect(None)
def with_san(chain: Chain) -> Chain:
    """The server certificate has the host name in a subjectAltName, which up to 1.0.4 it had not."""
    return chain.reissue(Role.SERVER, lambda old: named(old, san=[chain.server.common_name]))


@defect(None)
def wildcard_san(chain: Chain) -> Chain:
    """The server certificate is for every name of the gateway's domain."""
    return chain.reissue(Role.SERVER, lambda old: named(old, san=[_wildcard(chain)]))


@defect(None)
def wildcard_common_name(chain: Chain) -> Chain:
    """The server certificate's common name stands for every name of the domain, and there is no subjectAltName."""
    return chain.reissue(
        Role.SERVER, lambda old: named(old, common_name=_wildcard(chain)).without(x509.SubjectAlternativeName)
    )


@defect(62)
def trailing_dot(chain: Chain) -> Chain:
    """The names in the server certificate end in a dot, as in a zone file."""
    dotted = chain.hostname.rstrip(".") + "."
    return chain.reissue(Role.SERVER, lambda old: named(old, common_name=dotted, san=[dotted]))


@defect(None)
def server_without_subject(chain: Chain) -> Chain:
    """The server certificate has no subject, only a subjectAltName."""
    return chain.reissue(Role.SERVER, lambda old: replace(old, subject=x509.Name([])))


@defect(None)
def server_with_another_common_name(chain: Chain) -> Chain:
    """The server certificate's common name is something else; the subjectAltName is right."""
    return chain.reissue(Role.SERVER, lambda old: replace(old, subject=name("other.iot.local")))


@defect(None)
def loop_device_ca(chain: Chain) -> Chain:
    """The device CA bears the gateway's own name: the common-name loop."""
    return _called(chain, Role.DEVICE_CA, chain.server.common_name)


@defect(None)
def loop_workload_ca(chain: Chain) -> Chain:
    """The device CA bears the workload CA's name, so the workload CA looks self-signed."""
    return _called(chain, Role.DEVICE_CA, chain.level(Role.WORKLOAD_CA).common_name)


@defect(None)
def loop_intermediate(chain: Chain) -> Chain:
    """The intermediate bears the gateway's name."""
    return _called(chain, Role.INTERMEDIATE, chain.server.common_name)


@defect(None)
def loop_root(chain: Chain) -> Chain:
    """The root bears the gateway's name."""
    return _called(chain, chain.root.role, chain.server.common_name)


def named(template: Template, *, common_name: str | None = None, san: Sequence[str] | None = None) -> Template:
    """Return the template with another common name and other dNSNames, whatever they are worth."""
    if common_name is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # more than 64 characters are meant
            attribute = x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)
        template = replace(template, subject=x509.Name([attribute]))
    if san is not None:
        template = template.with_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, san))))
    return template


def server_named(chain: Chain, hostname: str) -> Chain:
    """Make the gateway's hierarchy for another host name, also for one that no gateway would be configured with."""
    old = chain.server.template.get(x509.SubjectAlternativeName)
    san = [hostname if one in (chain.hostname, chain.server.common_name) else one for one in _dns(old)]
    renamed_chain = chain.reissue(Role.SERVER, lambda server: named(server, common_name=hostname, san=_ascii(san)))
    return replace(renamed_chain, hostname=hostname)


def _dns(san: x509.SubjectAlternativeName | None) -> list[str]:
    return san.get_values_for_type(x509.DNSName) if san else []


def _ascii(names: Sequence[str]) -> list[str] | None:
    return [one for one in names if one.isascii()] or None


def _called(chain: Chain, role: Role, common_name: str) -> Chain:
    return renamed(chain, chain.level(role), name(common_name))


def _wildcard(chain: Chain) -> str:
    domain = chain.hostname.partition(".")[2]
    if not domain:
        raise impossible(chain, "wildcard-san", f"{chain.hostname} has no domain")
    return f"*.{domain}"
