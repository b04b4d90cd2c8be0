"""Checks of names in the configuration: hostname and parent_hostname."""

from __future__ import annotations

import re

from certs.names import MAX_CN, is_ip
from scenarios.check.model import Fact, Looked, NotApplicable, check, error, warning
from scenarios.check.subject import Subject

# RFC 1035, 2.3.1 as hostname_checks_common.rs (Azure/iotedge) reads it: a label begins with a letter, also today
_LABEL = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_RULES = (
    "- Hostname must be between 1 and 255 octets inclusive.\n"
    '- Each label (component separated by ".") must be between 1 and 63 octets inclusive.\n'
    "- Each label starts with a letter, ends with a letter or digit, and has only letters, digits and hyphens.\n"
    "Some leaf devices cannot connect otherwise: the .NET SDK and Java refuse an underscore."
)


@check("hostname", "configuration has a valid hostname")
def hostname(subject: Subject) -> Looked:
    """`aziotctl check`'s hostname, without the comparison with this machine's: the file may be another machine's."""
    name = subject.configuration.hostname
    yield Fact("config_hostname", name)
    if name is None:
        raise NotApplicable("no hostname is configured; the daemon takes the machine's")
    if not name:
        yield error("hostname is not set\nset it to the name that leaf devices use for this gateway")
    elif not is_ip(name):
        if not is_rfc_1035(name):
            yield warning(f"hostname {name} does not comply with RFC 1035.\n{_RULES}")
        if len(name) > MAX_CN:
            yield warning(
                f"hostname {name} is too long to be used as a certificate issuer: "
                f"{len(name)} characters, and a common name ends at {MAX_CN}"
            )


@check("parent_hostname", "configuration has a valid parent_hostname")
def parent_hostname(subject: Subject) -> Looked:
    """`iotedge check`'s parent_hostname; one that is too long is an error there, not a warning."""
    name = subject.configuration.parent_hostname
    if not name:
        raise NotApplicable("no parent_hostname is configured")
    yield Fact("config_parent_hostname", name)
    if is_ip(name):
        return
    if not is_rfc_1035(name):
        yield warning(f"parent_hostname {name} does not comply with RFC 1035.\n{_RULES}")
    if len(name) > MAX_CN:
        yield error(f"parent_hostname {name} is too long to be used as a certificate issuer")
    if name.lower() == (subject.configuration.hostname or "").lower():
        yield error(
            f"parent_hostname {name} is this gateway's own hostname\n"
            "leave parent_hostname out, unless the gateway has another gateway above it"
        )


def is_rfc_1035(name: str) -> bool:
    """Tell whether the product takes a name for a host name."""
    return 0 < len(name) <= 255 and all(_LABEL.match(label) for label in name.split("."))
