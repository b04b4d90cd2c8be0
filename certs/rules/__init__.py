"""The diagnose rules, one file per kind of trouble; RULES is the order in which equally severe findings are told."""

from certs.rules import authority, loop, names, sending, trust, validity

RULES = (
    names.names,
    trust.trust,
    sending.gap,
    sending.order,
    sending.replaced,
    trust.pointers,
    loop.loop,
    authority.may_sign,
    authority.depth,
    authority.purpose,
    authority.constraints,
    authority.server_is_ca,
    validity.time,
    validity.policy,
    validity.serials,
    validity.length,
    validity.strictness,
)

__all__ = ["RULES"]
