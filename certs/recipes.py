"""How to build every chain of the measured table again: row of `outcomes` -> generation, names and defects.

Rule: a recipe is data. What the TLS server of a row does beyond its certificates (versions, ciphers, client
certificates, plain text) stands in the row itself: `outcomes()[name].server`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from certs.authority import Authority
from certs.chain import Chain
from certs.defects import apply_defects
from certs.defects.names import server_named
from certs.errors import CertsError, NameRefusedError
from certs.keys import CachedKeys, KeySource
from certs.names import check_hostname
from certs.outcomes import outcomes

HOST = "gw.iot.local"
_ELSEWHERE = f"CN={HOST},O=Contoso,C=US"  # the gateway's common name in another subject


@dataclass(frozen=True)
class Recipe:
    """One chain: a generation, names of authorities where they are not the usual ones, and the defects."""

    defects: tuple[str, ...] = ()
    generation: str = "documented"
    device_ca: str | None = None
    root: str | None = None
    intermediates: int | Sequence[str] = 1


_RECIPES = {
    "aki-mismatch": Recipe(("workload-ca-points-to-another-key",)),
    "aki-serial-mismatch": Recipe(("workload-ca-points-to-another-serial",)),
    "bad-sig-noids": Recipe(("device-ca-replaced", "no-key-ids")),
    "both-roots-trusted": Recipe(("root-not-sent", "both-roots-trusted")),
    "case-ask-upper": Recipe(),
    "case-cert-mixed": Recipe(),
    "cipher-ccm8": Recipe(),
    "cipher-rsa-kx": Recipe(),
    "cn-64": Recipe(device_ca="gateway.ca"),
    "cn-70": Recipe(),
    "cn-70-cnonly": Recipe(("no-san",)),
    "cn-only": Recipe(("no-san",)),
    "cn-only-case": Recipe(("no-san",)),
    "cn-only-cert-mixed": Recipe(("no-san",)),
    "devca-ca-false": Recipe(("device-ca-not-ca", "device-ca-without-certsign")),
    "devca-ca-false-kuok": Recipe(("device-ca-not-ca",)),
    "devca-no-bc": Recipe(("device-ca-plain-certificate",)),
    "devca-no-bc-kuok": Recipe(("device-ca-without-basic-constraints",)),
    "devca-no-certsign": Recipe(("device-ca-without-certsign",)),
    "devca-replaced": Recipe(("device-ca-replaced",)),
    "dup-cert": Recipe(("duplicate-certificate",)),
    "dup-serial-same-issuer": Recipe(("root-not-sent", "second-server-same-serial")),
    "dup-serials": Recipe(("same-serials",)),
    "expired-devca": Recipe(("expired-device-ca",)),
    "expired-inter": Recipe(("expired-intermediate",)),
    "expired-root-notsent": Recipe(("expired-root", "root-not-sent")),
    "expired-srv": Recipe(("expired-server",)),
    "expired-wl": Recipe(("expired-workload-ca",)),
    "extra-unrelated": Recipe(("unrelated-certificate",)),
    "host-mismatch": Recipe(),
    "host-short-vs-fqdn": Recipe(),
    "idn-a-a": Recipe(),
    "idn-u-cn": Recipe(("no-san",)),
    "ip-as-dnssan": Recipe(),
    "ip-cn-only": Recipe(("no-san",)),
    "ip-no-ipsan": Recipe(),
    "key-mismatch": Recipe(("key-of-another-certificate",)),
    "leaf-only": Recipe(("leaf-only",)),
    "long-10": Recipe(intermediates=6),
    "long-15": Recipe(intermediates=11),
    "loop-1.0.3-devca-trusted": Recipe(
        ("with-san", "root-sent", "device-ca-trusted"), generation="1.0.3", device_ca=HOST
    ),
    "loop-1.0.3-nobc": Recipe(
        ("with-san", "root-sent", "server-without-basic-constraints"), generation="1.0.3", device_ca=HOST
    ),
    "loop-1.0.3-rdn-inherited": Recipe(("root-sent",), generation="1.0.3", device_ca=_ELSEWHERE),
    "loop-hist-1.0.3": Recipe(("root-sent",), generation="1.0.3", device_ca=HOST),
    "loop-hist-1.0.4": Recipe(("with-san", "root-sent"), generation="1.0.4", device_ca=HOST),
    "loop-hist-1.0.5": Recipe(("root-sent",), generation="1.1", device_ca=HOST),
    "loop-hist-1.2": Recipe(("serial-positive",), generation="1.5", device_ca=HOST),
    "loop-hist-1.2-noski": Recipe(("serial-positive", "device-ca-without-ski"), generation="1.5", device_ca=HOST),
    "loop-hist-1.2-noski-rdn": Recipe(
        ("serial-positive", "device-ca-without-ski"), generation="1.5", device_ca=_ELSEWHERE
    ),
    "loop-hist-1.2-serial0": Recipe(generation="1.2", device_ca=HOST),
    "loop-hist-1.2-serial0-rdn": Recipe(generation="1.2", device_ca=_ELSEWHERE),
    "loop-hist-1.2-serial0-rootsent": Recipe(("root-sent",), generation="1.2", device_ca=HOST),
    "loop-inter-cn-noids": Recipe(("no-key-ids", "server-without-key-usage"), intermediates=[HOST]),
    "loop-leaf-last-noids": Recipe(
        ("no-key-ids", "server-without-key-usage", "root-not-sent", "server-sent-again-last"), device_ca=HOST
    ),
    "loop-root-cn": Recipe(root=HOST),
    "loop-root-cn-noids": Recipe(("no-key-ids", "server-without-key-usage"), root=HOST),
    "loop-wl-cn": Recipe(device_ca="iotedge workload ca"),
    "loop-wl-cn-noids": Recipe(("no-key-ids",), device_ca="iotedge workload ca"),
    "miss-inter": Recipe(("missing-intermediate", "root-not-sent")),
    "miss-inter-but-trusted": Recipe(("missing-intermediate", "root-not-sent", "intermediate-trusted-too")),
    "miss-wl": Recipe(("missing-workload-ca",)),
    "mtls-required": Recipe(),
    "nc-cnonly": Recipe(("name-constraints-violated", "no-san")),
    "nc-ok": Recipe(("name-constraints-kept",)),
    "nc-violation": Recipe(("name-constraints-violated",)),
    "notyet-root": Recipe(("not-yet-valid-root",)),
    "notyet-srv": Recipe(("not-yet-valid-server",)),
    "notyet-wl": Recipe(("not-yet-valid-workload-ca",)),
    "ok-5level": Recipe(),
    "ok-edge12": Recipe(("serial-positive",), generation="1.5"),
    "ok-hist-1.2-noski": Recipe(("serial-positive", "device-ca-without-ski"), generation="1.5"),
    "ok-hist-1.2-serial0": Recipe(generation="1.2"),
    "ok-iotedge-1.0.3": Recipe(
        (
            "with-san",
            "root-sent",
        ),
        generation="1.0.3",
    ),
    "ok-no-inter-level": Recipe(intermediates=0),
    "ok-noroot": Recipe(("root-not-sent",)),
    "order-reversed": Recipe(("wrong-order",)),
    "order-shuffled": Recipe(("shuffled-order",)),
    "pathlen-devca0-edge12": Recipe(("serial-positive", "device-ca-path-length-zero"), generation="1.5"),
    "pathlen-inter0": Recipe(("intermediate-path-length-zero",)),
    "pathlen-root1": Recipe(("root-path-length-one",)),
    "plain-port": Recipe(),
    "quickstart-trusted": Recipe(("serial-positive", "root-sent"), generation="quickstart"),
    "quickstart-untrusted": Recipe(("serial-positive", "root-sent", "other-root-trusted"), generation="quickstart"),
    "root-renewed-samekey": Recipe(("root-not-sent", "renewed-root-trusted")),
    "rsa1024-devca": Recipe(("device-ca-rsa-1024",)),
    "rsa1024-srv": Recipe(("server-rsa-1024",)),
    "san-only": Recipe(("server-without-subject",)),
    "san-only-cn-other": Recipe(("server-with-another-common-name",)),
    "selfsigned-srv-trusted": Recipe(("self-signed-server", "server-trusted")),
    "selfsigned-srv-untrusted": Recipe(("self-signed-server",)),
    "sha1-devca": Recipe(("device-ca-sha1",)),
    "sha1-root": Recipe(("root-sha1",)),
    "sha1-srv": Recipe(("server-sha1",)),
    "srv-eku-client": Recipe(("server-client-auth-only",)),
    "srv-eku-none": Recipe(("server-without-extended-key-usage",)),
    "srv-is-ca": Recipe(("server-is-ca",)),
    "stale-root-samename": Recipe(("same-named-root",)),
    "stale-root-samename-noroot": Recipe(("same-named-root", "root-not-sent")),
    "tls10-only": Recipe(),
    "tls12-only": Recipe(),
    "tls13-only": Recipe(),
    "trailing-dot-cert": Recipe(),
    "trust-devca-only": Recipe(("root-not-sent", "device-ca-trusted")),
    "trust-inter-only": Recipe(("root-not-sent", "intermediate-trusted")),
    "trust-srv-pinned": Recipe(("leaf-only", "server-trusted")),
    "underscore": Recipe(),
    "wildcard-cn": Recipe(("wildcard-common-name",)),
    "wildcard-san": Recipe(("wildcard-san",)),
    "wildcard-tld": Recipe(("wildcard-san",)),
    "wl-eku-client": Recipe(("workload-ca-client-auth-only",)),
    "wl-eku-server": Recipe(("workload-ca-server-auth",)),
    "wrong-root": Recipe(("other-root-trusted",)),
}
#: a loop's name says what it is made of: which subject repeats, who signed the server certificate, its identifiers,
#: whether it has a key usage, and whether the root is sent
_LOOP_SUBJECTS = {"fulldn": HOST, "cnonly": f"CN={HOST},DC=contoso"}
_LOOP_DEFECTS = {
    "direct": "signed-by-device-ca",
    "wl": None,
    "aki": None,
    "devcanoski": "device-ca-without-ski",
    "noids": "no-key-ids",
    "skionly": "no-authority-key-ids",
    "ku": None,
    "noku": "server-without-key-usage",
    "noroot": "root-not-sent",
}


def _loop(name: str) -> Recipe:
    _, subject, *parts = name.split("-")
    found = (_LOOP_DEFECTS[part] for part in parts)
    return Recipe(tuple(defect for defect in found if defect), device_ca=_LOOP_SUBJECTS[subject])


def _is_loop(name: str) -> bool:
    return name.startswith(("loop-fulldn-", "loop-cnonly-"))


#: by the name of the row in the measured table
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    _RECIPES | {name: _loop(name) for name in outcomes() if _is_loop(name)}
)


def rebuild(name: str, *, keys: KeySource | None = None) -> Chain:
    """Return the chain of a row of the measured table, with RSA keys as measured. CertsError for an unknown name."""
    if name not in RECIPES:
        raise CertsError(f"there is no measured chain {name!r}", "`leafgate certs measured` lists them")
    recipe, hostname = RECIPES[name], outcomes()[name].hostname
    chain = Authority(
        hostname=_acceptable(hostname),
        generation=recipe.generation,
        device_ca_cn=recipe.device_ca,
        root_cn=recipe.root,
        intermediates=recipe.intermediates,
        key="rsa2048",
        allow_cn_loop=True,
        keys=keys or CachedKeys(),
    ).chain()
    if chain.server.common_name != hostname:
        chain = server_named(chain, hostname)
    return apply_defects(chain, recipe.defects)


def _acceptable(hostname: str) -> str:
    """Return the host name, or a stand-in where the product would not be configured with it."""
    try:
        check_hostname(hostname)
    except NameRefusedError:
        return HOST
    return hostname
