"""What each product generation writes into its certificates."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from certs import GENERATIONS, Authority, CachedKeys, CertsError, Role, serial_of
from tests.certs.tls import ACCEPTED, judge

HOST = "GW.test"
NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
)


def chain(generation, **options):
    """A chain of that generation with EC keys, issued at NOW."""
    return Authority(hostname=HOST, generation=generation, key="ec", now=NOW, **options).chain()


def said(certificate):
    """What a certificate says, in short: constraints, usage, purposes, names, identifiers, serial 0."""
    found = {extension.value.__class__: extension.value for extension in certificate.extensions}
    words = []
    if constraints := found.get(x509.BasicConstraints):
        length = "" if constraints.path_length is None else f":{constraints.path_length}"
        words.append(f"ca{length}" if constraints.ca else "no-ca")
    if usage := found.get(x509.KeyUsage):
        words.append("usage " + "".join("1" if getattr(usage, bit) else "0" for bit in BITS))
    if purposes := found.get(x509.ExtendedKeyUsage):
        words += [oid._name for oid in purposes]
    if san := found.get(x509.SubjectAlternativeName):
        words.append("san " + ",".join(str(name.value) for name in san))
    words += ["ski"] * (x509.SubjectKeyIdentifier in found)
    if identifier := found.get(x509.AuthorityKeyIdentifier):
        words.append("aki+issuer" if identifier.authority_cert_issuer else "aki")
    return "; ".join([*words, *["serial 0"] * (serial_of(certificate) == 0)])


USER_CA = "ca; usage 100001; ski; aki+issuer"
SERVER_11 = "no-ca; usage 111110; serverAuth; san edgehub,gw.test; ski; aki+issuer"


@pytest.mark.parametrize(
    ("generation", "server", "workload_ca"),
    [
        ("documented", SERVER_11, "ca:0; usage 100001; ski; aki+issuer"),
        ("1.0.3", "no-ca", "ca:0"),
        ("1.0.4", "no-ca; usage 111110; serverAuth", "ca:0; usage 100001"),
        ("1.1", SERVER_11, "ca:0; usage 100001; ski; aki+issuer"),
        ("1.2", "serverAuth; san edgehub,GW.test; serial 0", None),
        ("1.3", "serverAuth; san GW.test,$edgeHub; ski; aki; serial 0", None),
        ("1.5", "serverAuth; san GW.test,edgeHub; ski; aki; serial 0", None),
        ("quickstart", "serverAuth; san GW.test,edgeHub; ski; aki; serial 0", None),
        ("certgen", "no-ca; usage 101000; serverAuth; ski; aki+issuer", None),
    ],
)
def test_generation_writes_its_extensions(generation, server, workload_ca):
    """Server certificate and workload CA carry exactly what that generation's daemon wrote."""
    made = chain(generation)
    assert said(made.server.certificate) == server
    assert made.has(Role.WORKLOAD_CA) is (workload_ca is not None)
    if workload_ca:
        assert said(made.level(Role.WORKLOAD_CA).certificate) == workload_ca
    for role in (Role.ROOT, Role.INTERMEDIATE):
        assert not made.has(role) or said(made.level(role).certificate) == USER_CA


def test_quickstart_has_one_self_signed_authority():
    """Without configured certificates the daemon makes a CA that signs itself and only the server's is sent."""
    made = chain("quickstart")
    assert [level.role for level in made.levels] == [Role.SERVER, Role.DEVICE_CA]
    assert said(made.root.certificate) == "ca:0; usage 100001; ski; aki; serial 0"
    assert made.root.common_name == "aziot-edge CA GW.test"
    assert made.sent == (made.server.certificate,)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_sound_chain_of_each_generation_is_accepted(generation, tmp_path):
    """OpenSSL accepts every generation, with EC and with the era's own RSA keys, trusting the root alone."""
    for options in ({"key": "ec"}, {"keys": CachedKeys()}):
        made = Authority(hostname=HOST, generation=generation, **options).chain()
        assert judge(made, tmp_path) == ACCEPTED


@pytest.mark.parametrize("generation", GENERATIONS)
def test_root_is_sent_where_the_generation_sends_it(generation):
    """The product leaves the self-signed root out; the article's figure and the scripts' files have it."""
    made = chain(generation)
    assert (made.root.certificate in made.sent) is (generation in {"documented", "certgen"})
    assert made.sent == tuple(level.certificate for level in made.levels)[: len(made.sent)]


def test_key_sizes_are_the_eras():
    """Without a wish the article's chain has EC keys, the numbered ones RSA: 4096 for authorities, 2048 otherwise."""

    def sizes(generation):
        made = Authority(generation=generation, keys=CachedKeys()).chain()
        return [level.certificate.public_key().key_size for level in made.levels]

    assert sizes("documented") == [256] * 5
    assert sizes("1.1") == [2048, 4096, 4096, 4096, 4096]
    assert sizes("1.5") == [2048, 4096, 4096, 4096]
    assert sizes("quickstart") == [2048, 2048]


@pytest.mark.parametrize(("key", "size"), [("ec", 256), ("ec384", 384), ("rsa2048", 2048)])
def test_key_wish_counts_for_all_levels(key, size, tmp_path):
    """One kind of key for the whole hierarchy, when asked for."""
    made = Authority(hostname=HOST, key=key, keys=CachedKeys()).chain()
    assert {level.certificate.public_key().key_size for level in made.levels} == {size}
    assert judge(made, tmp_path) == ACCEPTED


@pytest.mark.parametrize(("generation", "days"), [("1.1", 90), ("1.5", 30), ("quickstart", 30)])
def test_lifetime_is_the_products_but_never_longer_than_the_issuers(generation, days):
    """The server certificate lives as long as its generation gave it, or as its issuer lives."""
    long = chain(generation, days=400)
    assert long.server.template.not_after == NOW + timedelta(days=days)
    short = chain(generation, days=10)
    assert short.server.template.not_after == NOW + timedelta(days=10)


def test_lifetime_without_a_wish_is_the_scripts():
    """Everything lives for the scripts' 30 days from the issue time on; nothing is back-dated."""
    for level in chain("documented").levels:
        assert (level.template.not_before, level.template.not_after) == (NOW, NOW + timedelta(days=30))


@pytest.mark.parametrize(("generation", "inherits"), [("1.0.3", True), ("1.0.4", True), ("1.1", True), ("1.2", False)])
def test_daemon_copies_the_issuers_names_up_to_1_1(generation, inherits):
    """The old daemon copied C, ST, L, O and OU of its issuer into what it made."""
    made = chain(generation, device_ca_cn="CN=gw.ca,OU=Presses,O=Contoso,L=Redmond,ST=WA,C=US")
    expected = "CN=gw.test,OU=Presses,O=Contoso,L=Redmond,ST=WA,C=US" if inherits else "CN=GW.test"
    assert made.server.template.subject.rfc4514_string() == expected


@pytest.mark.parametrize(
    ("generation", "kind"), [("1.1", x509.DNSName), ("documented", x509.DNSName), ("1.2", x509.IPAddress)]
)
def test_ip_address_as_hostname(generation, kind):
    """Up to 1.1 an address became a DNS name; from 1.2 on it is an address."""
    made = Authority(hostname="10.0.0.7", generation=generation, key="ec").chain()
    names = made.server.template.get(x509.SubjectAlternativeName)
    assert [type(name) for name in names if str(name.value) == "10.0.0.7"] == [kind]


def test_ip_san_is_an_address_in_every_generation(tmp_path):
    """An address that is asked for is a real address entry, even where the generation had no SAN."""
    for generation in ("documented", "1.0.3", "1.5"):
        made = Authority(hostname=HOST, generation=generation, key="ec", ip_san=["10.0.0.7", "fe80::1"]).chain()
        for name in ("10.0.0.7", "fe80::1", HOST):
            assert judge(made, tmp_path, name=name) == ACCEPTED
        assert judge(made, tmp_path, name="10.0.0.8").code == 64


@pytest.mark.parametrize(
    "options",
    [
        {"generation": "1.6"},
        {"key": "dsa"},
        {"hostname": "gw factory"},
        {"hostname": "https://gw"},
        {"hostname": "gw:8883"},
        {"hostname": "gäteway.test"},
        {"hostname": "x" * 65},
        {"hostname": ""},
        {"ip_san": ["gw.test"]},
        {"device_ca_cn": "x" * 65},
        {"device_ca_cn": "O=Contoso,nonsense"},
        {"generation": "certgen", "device_ca_cn": "gw.ca"},
        {"intermediates": -1},
        {"days": 0},
    ],
)
def test_wish_that_cannot_be_is_told(options):
    """What no chain can have is an error with a hint, before anything is made."""
    with pytest.raises(CertsError) as refused:
        Authority(**options).chain()
    assert refused.value.exit_code == 2
    assert refused.value.hint
