"""What the real SDKs say to every chain that a gateway can serve, and to every trust that a user can give them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs import Authority, Chain, Role, apply_defects, other_root, same_named_root
from certs.chain import Level
from certs.x509io import to_pem
from gateway.events import ClientConnected, HandshakeFailed
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError
from tests.interop.sdk.words import node_refusal, python_tls

pytestmark = MARKS


def good(chain):
    """The chain as it is."""
    return chain


def defect(name):
    """The chain with a defect of the catalogue."""
    return lambda chain: apply_defects(chain, [name])


def named(common_name, *names):
    """The chain whose server certificate has that common name, and those names as subjectAltName (none: no such)."""

    def change(old):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        old = replace(old.without(x509.SubjectAlternativeName), subject=subject)
        return old.with_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names)))) if names else old

    return lambda chain: chain.reissue(Role.SERVER, change)


def with_address(chain):
    """A chain of its own with the address in the server certificate."""
    return Authority(hostname="localhost", ip_san=["127.0.0.1"]).chain()


def without_usage(chain):
    """The chain whose server certificate has no extended key usage."""
    return chain.reissue(Role.SERVER, lambda old: old.without(x509.ExtendedKeyUsage))


def self_signed(chain):
    """A server certificate that is its own issuer, and nothing else."""
    old = chain.server
    level = Level.issue(Role.SERVER, old.template.without(x509.AuthorityKeyIdentifier), old.key)
    return replace(chain, levels=(level,), sent=(level.certificate,))


def root(chain):
    """The PEM text a leaf should trust."""
    return chain.trust_pem.decode()


def another_root(chain):
    """The root of somebody else."""
    return to_pem([other_root(chain)]).decode()


def twin_root(chain):
    """A root of the same name with another key."""
    return to_pem([same_named_root(chain)]).decode()


def nothing(_):
    """No certificate is given to the SDK: it uses the system's store."""


def level(role):
    """That one certificate of the chain."""
    return lambda chain: chain.level(role).pem.decode()


def whole(chain):
    """Every certificate of the chain."""
    return to_pem([one.certificate for one in chain.levels]).decode()


def served(chain):
    """What the gateway sends."""
    return chain.sent_pem.decode()


@dataclass(frozen=True)
class Case:
    """One row: what is served, what is trusted, under which name, and what each SDK says (None: it connects)."""

    title: str
    python: str | tuple | None = None
    node: str | None = None
    serve: Callable[[Chain], Chain] = good
    trust: Callable[[Chain], str | None] = root
    host: str = "localhost"
    #: the server name that the gateway is told by each (RFC 6066: none for an address)
    sni: tuple[str | None, str | None] = field(default=("localhost", "localhost"), kw_only=True)


def same(title, text, **facts):
    """A row on which both agree."""
    return Case(title, text, text, **facts)


def mismatch(title, names, *, host="localhost", **facts):
    """A row in which the name does not match."""
    return Case(
        title,
        f"Hostname mismatch, certificate is not valid for '{host}'.",
        f"Hostname/IP does not match certificate's altnames: Host: {host}. is not in the cert's altnames: {names}",
        host=host,
        **facts,
    )


IN_CHAIN = "self-signed certificate in certificate chain"
NO_ISSUER = "unable to get issuer certificate"
NO_LOCAL_ISSUER = "unable to get local issuer certificate"
ADDRESS = ("IP address mismatch, certificate is not valid for '127.0.0.1'.",)
ADDRESS += ("Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list: ",)
SHOUTED = {"host": "LOCALHOST", "sni": ("LOCALHOST", "localhost")}
BY_ADDRESS = {"host": "127.0.0.1", "sni": (None, None)}
NOT_ASCII = (("TypeError", "cadata should be an ASCII string or a bytes-like object"),)
NO_PEM = (("SSLError", "no start line: cadata does not contain a certificate"),)

#: the alert that the Python SDK's OpenSSL sends with its verdict; Node.js verifies after the handshake and just closes
ALERTS = {
    "certificate has expired": "certificate_expired",
    "certificate is not yet valid": "bad_certificate",
    "unsuitable certificate purpose": "unsupported_certificate",
    "Hostname mismatch": "bad_certificate",
    "IP address mismatch": "bad_certificate",
}

CASES = [
    Case("the chain as documented"),
    Case("the root is not sent", serve=defect("root-not-sent")),
    same("nothing is trusted", IN_CHAIN, trust=nothing),
    same("another root is trusted", IN_CHAIN, trust=another_root),
    same("a root of the same name", IN_CHAIN, trust=twin_root),
    same("the intermediate alone is trusted", NO_ISSUER, trust=level(Role.INTERMEDIATE)),
    same("the workload CA alone is trusted", NO_ISSUER, trust=level(Role.WORKLOAD_CA)),
    same("the server certificate alone is trusted", IN_CHAIN, trust=level(Role.SERVER)),
    Case("the whole chain is trusted", trust=whole),
    Case("lines of the root end as on Windows", trust=lambda chain: root(chain).replace("\n", "\r\n")),
    Case("a comment beyond ASCII in the root", NOT_ASCII, trust=lambda chain: "# Schlüssel\n" + root(chain)),
    same("the root's file is empty", IN_CHAIN, trust=lambda _: ""),
    Case("the root's file is garbage", NO_PEM, IN_CHAIN, trust=lambda _: "garbage\n"),
    Case("a self-signed certificate that is trusted", serve=self_signed, trust=served),
    same("a self-signed certificate that is not", "self-signed certificate", serve=self_signed),
    Case("upper case, SAN in lower", **SHOUTED),
    Case("upper case, CN alone in lower", serve=named("localhost"), **SHOUTED),
    Case("upper case, CN alone in upper", serve=named("LOCALHOST"), **SHOUTED),
    Case("lower case, SAN in upper", serve=named("x", "LOCALHOST")),
    Case("lower case, CN alone in upper", serve=named("LOCALHOST")),
    Case("lower case, CN alone in lower", serve=named("localhost")),
    Case("mixed case, CN alone in lower", serve=named("localhost"), host="LocalHost", sni=("LocalHost", "localhost")),
    mismatch("another name", "DNS:otherhost.local", serve=named("otherhost.local", "otherhost.local")),
    mismatch("the CN matches, the SAN does not", "DNS:otherhost.local", serve=named("localhost", "otherhost.local")),
    Case("an address with its SAN", serve=with_address, **BY_ADDRESS),
    Case("an address as DNS name", *ADDRESS, serve=named("x", "127.0.0.1"), **BY_ADDRESS),
    Case("an address as CN alone", *ADDRESS, serve=named("127.0.0.1"), **BY_ADDRESS),
    mismatch(
        "a wildcard below a top-level name",
        "DNS:*.local",
        serve=named("x", "*.local"),
        host="iotedgegw.local",
        sni=("iotedgegw.local", "iotedgegw.local"),
    ),
    Case("a wildcard", serve=named("x", "*.edge.local"), host="gw.edge.local", sni=("gw.edge.local", "gw.edge.local")),
    Case(
        "a name that ends with a dot",
        "Hostname mismatch, certificate is not valid for 'localhost.'.",
        host="localhost.",
        sni=("localhost.", "localhost."),
    ),
    same("an expired server certificate", "certificate has expired", serve=defect("expired-server")),
    same("an expired intermediate", "certificate has expired", serve=defect("expired-intermediate")),
    same("not valid yet", "certificate is not yet valid", serve=defect("not-yet-valid-server")),
    Case("no intermediates", NO_LOCAL_ISSUER, "unable to verify the first certificate", serve=defect("leaf-only")),
    Case("no intermediates, but all are trusted", serve=defect("leaf-only"), trust=whole),
    same("no root, another is trusted", NO_LOCAL_ISSUER, serve=defect("root-not-sent"), trust=another_root),
    same("no root, nothing is trusted", NO_LOCAL_ISSUER, serve=defect("root-not-sent"), trust=nothing),
    same("for clients only", "unsuitable certificate purpose", serve=defect("server-client-auth-only")),
    Case("no extended key usage", serve=without_usage),
    same("a path that is too long", "path length constraint exceeded", serve=defect("path-length-too-small")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title.replace(" ", "-"))
async def test_chain_is_judged_as_the_sdk_judges_it(start, authority, sdk, transport, case):
    """The SDK connects and delivers, or raises exactly this; the gateway notes the name it was called by."""
    good_chain = authority.chain()
    chain = case.serve(good_chain)
    room = await start(chain=chain)
    device = await room.client(sdk, host=case.host, ca=case.trust(chain), transport=transport)
    expected = getattr(case, sdk.name)
    sni = case.sni[sdk.name == "node"]
    if expected is None:
        await device.open()
        await device.send(body="1")
        assert (await room.message()).body == b"1"
        assert (await room.event(ClientConnected)).server_name == sni
        return
    with pytest.raises(SdkError) as refused:
        await device.open()
    assert refused.value.chain == _error(sdk, expected)
    if isinstance(expected, str):  # else the SDK did not even try
        failed = await room.event(HandshakeFailed)
        assert failed.server_name == sni
        if sdk.name == "python":
            assert (failed.sent_by, failed.alert) == ("client", ALERTS.get(expected.partition(",")[0], "unknown_ca"))


def _error(sdk, expected):
    if not isinstance(expected, str):
        return expected
    return python_tls(expected) if sdk.name == "python" else node_refusal(expected)


@pytest.mark.parametrize("name", ["python", "node"])
async def test_root_from_the_environment_is_trusted(room, fresh, tmp_path, transport, name):
    """Without a certificate in the program, SSL_CERT_FILE and NODE_EXTRA_CA_CERTS name the root."""
    file = tmp_path / "root.pem"
    file.write_text(room.root)
    variable = {"python": "SSL_CERT_FILE", "node": "NODE_EXTRA_CA_CERTS"}[name]
    sdk = await fresh(name, **{variable: str(file)})
    device = await room.open(sdk, ca=None, transport=transport)
    await device.send(body="1")
    assert (await room.message()).body == b"1"
