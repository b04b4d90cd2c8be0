"""Client certificates: thumbprints, authorities, and chains that are wrong in one way each."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.hub import certificates
from gateway.hub.certificates import CertificateFault, ClientCertificates, common_name_of, subject_text
from gateway.hub.identity import Identity
from gateway.hub.service_identity import Authentication
from tests.gateway.hub.identities import NOW, device, thumbprint_device
from tests.gateway.hub.x509 import DAY, UNKNOWN_EXTENSION, hierarchy, make, name

PRESS = Identity("hub", "press", None, "1")
BY_CA = device(keys=(), authentication=Authentication.CERTIFICATE_AUTHORITY)
ROOT, MIDDLE, LEAF = hierarchy()


def fault(sent, bundle=(ROOT,), *, known=BY_CA, identity=PRESS, now=NOW):
    """The fault of these certificates, the client's own first."""
    judge = ClientCertificates([one.certificate for one in bundle])
    return judge.fault([getattr(one, "der", one) for one in sent], identity, known, now)


# -- thumbprints -------------------------------------------------------------------------------------------------------

SHA1, SHA256 = hashlib.sha1(LEAF.der).hexdigest(), hashlib.sha256(LEAF.der).hexdigest()


@pytest.mark.parametrize("known", [(SHA1,), (SHA256,), (SHA1.upper(),), ("00", SHA256.upper())])
def test_registered_thumbprint_is_good(known):
    """SHA-1 or SHA-256, primary or secondary, any case; no chain, no trust bundle needed."""
    assert fault([LEAF], (), known=thumbprint_device(*known)) is None


@pytest.mark.parametrize(
    ("known", "now", "expected"),
    [
        (("00", "11"), NOW, CertificateFault.THUMBPRINT),
        ((), NOW, CertificateFault.THUMBPRINT),
        ((hashlib.sha256(MIDDLE.der).hexdigest(),), NOW, CertificateFault.THUMBPRINT),
        ((SHA1,), NOW + DAY, None),
        ((SHA1,), NOW + DAY + 1, CertificateFault.EXPIRED),
        ((SHA1,), NOW - DAY, None),
        ((SHA1,), NOW - DAY - 1, CertificateFault.NOT_YET_VALID),
        (("00",), NOW + DAY + 1, CertificateFault.EXPIRED),
    ],
)
def test_thumbprint_and_time_decide(known, now, expected):
    """Another certificate of the chain does not count; the validity ends with its last second."""
    assert fault([LEAF, MIDDLE], known=thumbprint_device(*known), now=now) is expected


def test_ca_certificate_is_good_by_its_thumbprint():
    """That it may issue certificates matters for authorities alone."""
    assert fault([ROOT], (), known=thumbprint_device(hashlib.sha1(ROOT.der).hexdigest())) is None


# -- authorities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "bundle"),
    [
        ([LEAF, MIDDLE], [ROOT]),
        ([LEAF, MIDDLE, ROOT], [ROOT]),
        ([LEAF, ROOT, MIDDLE], [ROOT]),
        ([LEAF], [MIDDLE]),
        ([LEAF], [MIDDLE, ROOT]),
        ([LEAF, MIDDLE], [MIDDLE]),
        ([LEAF], [LEAF]),
        ([LEAF, MIDDLE, LEAF], [ROOT]),
    ],
)
def test_chain_with_one_certificate_in_the_bundle_is_good(sent, bundle):
    """Any one of it: root, intermediate, even the device's own; in any order, the root sent or not."""
    assert fault(sent, bundle) is None


def test_intermediate_that_is_not_sent_is_not_found():
    """The root alone does not help: nobody knows who signed the device's certificate."""
    assert fault([LEAF], [ROOT]) is CertificateFault.NOT_TRUSTED


def test_authority_the_bundle_does_not_have_is_refused():
    """Also one with the same names; which authorities IoT Hub knows plays no part."""
    other_root, other_middle, other_leaf = hierarchy()
    assert fault([other_leaf, other_middle, other_root]) is CertificateFault.NOT_TRUSTED
    assert fault([LEAF, MIDDLE, ROOT], ()) is CertificateFault.NOT_TRUSTED


def test_certificate_of_a_device_without_certificates_is_refused():
    """Neither keys nor no authentication at all are certificates."""
    assert fault([LEAF, MIDDLE], known=device()) is CertificateFault.NOT_ASKED_FOR
    none = device(authentication=Authentication.NONE)
    assert fault([LEAF, MIDDLE], known=none) is CertificateFault.NOT_ASKED_FOR


def test_module_is_refused_whatever_it_shows():
    """Before anything else is looked at."""
    module = Identity("hub", "press", "filter", "1")
    assert fault([b"garbage"], identity=module) is CertificateFault.MODULE
    assert fault([LEAF, MIDDLE], identity=module) is CertificateFault.MODULE


@pytest.mark.parametrize("common_name", ["Press", "press ", "press2", ""])
def test_common_name_is_the_device_id_letter_by_letter(common_name):
    """Case and blanks count."""
    subject = name(common_name) if common_name else name("press", oid=NameOID.ORGANIZATION_NAME)
    assert fault([make(subject, MIDDLE), MIDDLE]) is CertificateFault.COMMON_NAME


def test_usage_is_not_looked_at():
    """A certificate for servers, or for mail, connects as well."""
    for usage in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION):
        assert fault([make("press", MIDDLE, extensions=[(x509.ExtendedKeyUsage([usage]), True)]), MIDDLE]) is None


def rsa_root():
    """A root with another kind of key, and a device of it."""
    root = make("root", ca=(True, None), key=rsa.generate_private_key(65_537, 2_048))
    return [make("press", root)], [root]


def below(**facts):
    """A device below an intermediate that is wrong in one way."""
    middle = make("middle", ROOT, **({"ca": (True, None)} | facts))
    return [make("press", middle), middle], [ROOT]


def too_deep():
    """Two authorities below one whose path length is 0."""
    first = make("first", ROOT, ca=(True, 0))
    second = make("second", first, ca=(True, None))
    return [make("press", second), second, first], [ROOT]


def long_chain(length):
    """A device below this many authorities, the last of them in the bundle."""
    made = [make("a0", ca=(True, None))]
    for number in range(1, length):
        made.append(make(f"a{number}", made[-1], ca=(True, None)))
    return [make("press", made[-1]), *reversed(made)], [made[0]]


KEY_USAGE = x509.KeyUsage(True, False, False, False, False, False, True, False, False)
WRONG = {
    "bad signature on the device": (([make("press", MIDDLE, signed=LEAF.key), MIDDLE], [ROOT]), "CHAIN_SIGNATURE"),
    "bad signature on the authority": (below(signed=LEAF.key), "CHAIN_SIGNATURE"),
    "authority expired": (below(days=(-2, -1)), "CHAIN_TIME"),
    "authority not yet valid": (below(days=(1, 2)), "CHAIN_TIME"),
    "authority without constraints": (below(ca=None), "CHAIN_NOT_CA"),
    "authority that is none": (below(ca=(False, None)), "CHAIN_NOT_CA"),
    "authority that may not sign": (below(extensions=[(KEY_USAGE, True)]), "CHAIN_NOT_CA"),
    "path longer than allowed": (too_deep(), "CHAIN_NOT_CA"),
    "critical extension of the authority": (below(extensions=[(UNKNOWN_EXTENSION, True)]), "CHAIN_CRITICAL"),
    "critical extension of the device": (
        ([make("press", MIDDLE, extensions=[(UNKNOWN_EXTENSION, True)]), MIDDLE], [ROOT]),
        "CHAIN_CRITICAL",
    ),
    "device is an authority": (([make("press", MIDDLE, ca=(True, None)), MIDDLE], [ROOT]), "IS_CA"),
    "device expired": (([make("press", MIDDLE, days=(-2, -1)), MIDDLE], [ROOT]), "EXPIRED"),
    "device not yet valid": (([make("press", MIDDLE, days=(1, 2)), MIDDLE], [ROOT]), "NOT_YET_VALID"),
    "expired and an authority": (([make("press", MIDDLE, ca=(True, None), days=(-2, -1)), MIDDLE], [ROOT]), "EXPIRED"),
    "too long": (long_chain(11), "CHAIN_TOO_LONG"),
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_chain_is_refused_for_its_one_reason(how):
    """Each defect has its own words."""
    (sent, bundle), expected = WRONG[how]
    assert fault(sent, bundle) is CertificateFault[expected]


@pytest.mark.parametrize(
    "good",
    [rsa_root(), below(), below(extensions=[(UNKNOWN_EXTENSION, False)]), below(ca=(True, 0)), long_chain(10),
     below(aki=False)],
)  # fmt: skip
def test_chain_without_the_defect_is_good(good):
    """The passing counterparts: an extension that is not critical, a path length that suffices, ten authorities."""
    assert fault(*good) is None


def test_issuer_that_the_key_identifier_does_not_mean_is_passed_over():
    """Of two authorities of one name the right one is found, whichever comes first."""
    impostor = make("middle", make("elsewhere", ca=(True, None)), ca=(True, None))
    assert fault([LEAF, impostor, MIDDLE]) is None
    assert fault([LEAF, impostor]) is CertificateFault.NOT_TRUSTED


def test_authority_that_expires_takes_its_verdict_along():
    """The remembered verdict about a chain is one for a time."""
    sent, bundle = below(days=(-1, 0.5))
    judge = ClientCertificates([one.certificate for one in bundle])
    ders = [one.der for one in sent]
    assert judge.fault(ders, PRESS, BY_CA, NOW) is None
    assert judge.fault(ders, PRESS, BY_CA, NOW + DAY // 2 + 1) is CertificateFault.CHAIN_TIME


# -- hostile -----------------------------------------------------------------------------------------------------------


def version_nine(der):
    """The certificate with a version that X.509 does not have."""
    assert der.count(b"\xa0\x03\x02\x01\x02") == 1
    return der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x08")


@pytest.mark.parametrize(
    "own", [b"", b"garbage", LEAF.der[:-1], version_nine(LEAF.der), b"\x30\x80", LEAF.der[:40] + bytes(len(LEAF.der))]
)
def test_certificate_that_cannot_be_read_is_refused(own):
    """By thumbprint and by authority; nothing is raised."""
    assert fault([own, MIDDLE]) is CertificateFault.UNREADABLE
    by_thumbprint = thumbprint_device(hashlib.sha256(own).hexdigest())
    assert fault([own], known=by_thumbprint) is CertificateFault.UNREADABLE


@pytest.mark.parametrize("other", [b"", b"garbage", version_nine(MIDDLE.der)])
def test_chain_that_cannot_be_read_is_refused(other):
    """One certificate of the first ten is enough to spoil it."""
    assert fault([LEAF, other, MIDDLE]) is CertificateFault.CHAIN_UNREADABLE


def test_certificates_that_issue_each_other_come_to_an_end():
    """A circle of two authorities: the walk stops."""
    one, two = make("one", ca=(True, None)), make("two", ca=(True, None))
    first = make("one", two, key=one.key, ca=(True, None))
    second = make("two", one, key=two.key, ca=(True, None))
    sent = [make("press", first), first, second]
    assert fault(sent) is CertificateFault.CHAIN_TOO_LONG


def test_hundred_authorities_of_one_name_cost_twenty_checks(monkeypatch):
    """Signatures are checked twenty times at most, and again only for another chain."""
    checked = []
    real = certificates.is_signed_by
    monkeypatch.setattr(certificates, "is_signed_by", lambda *two: checked.append(two) or real(*two))
    root = make("root", ca=(True, None))
    crowd = [make("root", ca=(True, None), key=root.key, named=name("root"), signed=LEAF.key) for _ in range(9)]
    leaf = make("press", root, aki=False, signed=LEAF.key)
    judge = ClientCertificates([one.certificate for one in crowd * 20])
    ders = [one.der for one in (leaf, *crowd, root)]
    for _ in range(3):
        assert judge.fault(ders, PRESS, BY_CA, NOW) is CertificateFault.CHAIN_TOO_LONG
    assert len(checked) == 20


def test_certificates_beyond_the_tenth_are_not_looked_at():
    """A client that sends hundreds makes nobody read them."""
    assert fault([LEAF, *[MIDDLE] * 10, b"garbage"]) is None
    assert fault([LEAF, *[ROOT] * 10, MIDDLE]) is CertificateFault.NOT_TRUSTED


def test_verdicts_are_remembered_up_to_a_limit():
    """The oldest chain is forgotten first."""
    judge = ClientCertificates([ROOT.certificate])
    for number in range(certificates._REMEMBERED + 10):
        judge.shown([b"%d" % number])
    assert len(judge._shown) == certificates._REMEMBERED
    assert judge.shown([LEAF.der]).subject == "CN=press"


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text", "common_name"),
    [
        (("press",), "CN=press", "press"),
        (("first", "second"), "CN=second, CN=first", "first"),
        (("a=b",), 'CN="a=b"', '"a'),
        (("a,b",), 'CN="a,b"', '"a'),
        (('say "a"',), 'CN="say ""a"""', '"say ""a"""'),
        ((" a",), 'CN=" a"', '" a"'),
        (("a#b",), 'CN="a#b"', '"a#b"'),
        (("press-7.line_2",), "CN=press-7.line_2", "press-7.line_2"),
    ],
)
def test_subject_is_read_as_the_product_reads_it(values, text, common_name):
    """.NET puts the last part first and quotes special characters, and the product cuts that text at ',' and '='."""
    subject = name(*values)
    assert subject_text(subject) == text
    assert common_name_of(text) == common_name


def test_subject_without_common_name_has_none():
    """Other parts, empty ones, or none at all."""
    assert subject_text(name("x", oid=NameOID.ORGANIZATION_NAME)) == "O=x"
    assert [common_name_of(text) for text in ("O=x", "", "CN=", ",,")] == [None] * 4


def test_subject_of_several_kinds_is_in_the_order_of_dotnet():
    """Most specific first, with .NET's short names."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "WA"),
            x509.NameAttribute(NameOID.COMMON_NAME, "press"),
            x509.NameAttribute(NameOID.GIVEN_NAME, "p"),
        ]
    )
    assert subject_text(subject) == "OID.2.5.4.42=p, CN=press, S=WA, C=US"
