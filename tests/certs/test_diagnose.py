"""The diagnose rules against OpenSSL, and each rule on the chain it is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certs import DEFECTS, GENERATIONS, Authority, CertsError, Role, apply_defects, other_root, same_named_root
from certs.inspect import problems
from certs.x509io import to_pem
from tests.certs.tls import judge

HOST = "gw.iot.local"


def chain(defects=(), **options):
    """A chain for HOST with these defects."""
    return apply_defects(Authority(hostname=HOST, key="ec", **options).chain(), defects)


def headline(broken, **options):
    """The rule of the first problem, if any."""
    options.setdefault("trust", broken.trust)
    found = problems(broken.sent, name=options.pop("name", HOST), **options)
    return found[0].rule if found else None


def possible(generation, defect):
    """Whether the generation's chain can have the defect."""
    try:
        chain([defect], generation=generation)
    except CertsError:
        return False
    return True


NOT_SERVED = "key-of-another-certificate"  # the server does not start with it
PAIRS = [(g, d) for g in GENERATIONS for d in DEFECTS if d != NOT_SERVED and possible(g, d)]


@pytest.mark.parametrize(("generation", "defect"), PAIRS)
def test_diagnosis_agrees_with_openssl(generation, defect, tmp_path):
    """An error is found exactly where OpenSSL refuses, for every defect in every generation that can have it."""
    broken = chain([defect], generation=generation)
    errors = [one for one in problems(broken.sent, name=HOST, trust=broken.trust) if one.severity == "error"]
    assert bool(errors) == (judge(broken, tmp_path).code is not None)


@pytest.mark.parametrize("stranger", [same_named_root, other_root])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_wrong_trust_is_an_error_as_for_openssl(generation, stranger, tmp_path):
    """A leaf with another root is diagnosed in every generation, the root sent or not."""
    sound = chain(generation=generation)
    wrong = [stranger(sound)]
    found = problems(sound.sent, name=HOST, trust=wrong)
    assert found[0].severity == "error"
    assert judge(sound, tmp_path, trust=to_pem(wrong)).code is not None


@pytest.mark.parametrize(
    ("defect", "rule"),
    [
        ("missing-intermediate", "C1"),
        ("missing-device-ca", "C1"),
        ("missing-workload-ca", "C1"),
        ("leaf-only", "C1"),
        ("wrong-order", "C2"),
        ("duplicate-certificate", "C2"),
        ("device-ca-replaced", "C3"),
        ("device-ca-not-ca", "A1"),
        ("device-ca-without-certsign", "A2"),
        ("path-length-too-small", "A3"),
        ("server-client-auth-only", "A4"),
        ("expired-server", "E1"),
        ("expired-root", "E1"),
        ("not-yet-valid-server", "E2"),
        ("no-san", "N3"),
        ("san-without-hostname", "N2"),
        ("same-named-root", "T2"),
        ("no-key-ids", "W4"),
        ("serial-zero", "W2"),
        ("root-not-sent", None),
    ],
)
def test_defect_has_its_headline(defect, rule):
    """The first finding names the cause that the defect is."""
    assert headline(chain([defect])) == rule


@pytest.mark.parametrize(
    ("name", "rule"),
    [("10.0.0.1", "N1"), ("other.test", "N4"), ("gw", "N4"), ("GW.iot.local", "N6"), (HOST, None)],
)
def test_name_has_its_headline(name, rule):
    """The name the leaf uses decides which name rule speaks."""
    assert headline(chain(), name=name) == rule


def test_trust_has_its_headline():
    """Another root, one of the same name, one in the middle and none at all are told apart."""
    sound = chain()
    assert headline(sound, trust=[other_root(sound)]) == "T1"
    assert headline(sound, trust=[]) == "T1"
    assert headline(sound, trust=[same_named_root(sound)]) == "T2"
    without_root = apply_defects(sound, ["root-not-sent"])
    assert headline(without_root, trust=[sound.level(Role.INTERMEDIATE).certificate]) == "T4"
    assert headline(without_root, trust=[]) == "T1"
    assert headline(chain(generation="quickstart"), trust=[other_root(sound)]) == "T5"


def renewed(level):
    """The level with another serial number, same key."""
    return level.reissue(replace(level.template, serial=level.template.serial + 1))


@pytest.mark.parametrize("defects", [[], ["root-not-sent"]])
def test_renewed_root_is_refused_where_children_name_its_serial(defects, tmp_path):
    """A root renewed with its key does not fit below certificates that point to the earlier serial number."""
    sound = chain(defects)
    root = renewed(sound.root)
    assert headline(sound, trust=[root.certificate]) == "T3"
    assert judge(sound, tmp_path, trust=root.pem).code in {19, 20}


def test_pointer_to_another_certificate_is_told(tmp_path):
    """An authority renewed with its key, while what it signed points to the earlier serial number."""
    sound = chain()
    device_ca = sound.level(Role.DEVICE_CA)
    broken = sound.swap(device_ca, renewed(device_ca))
    assert headline(broken) == "C4"
    assert judge(broken, tmp_path).code == 20


@pytest.mark.parametrize(("generation", "rule"), [("1.2", "L4"), ("1.3", "L6"), ("1.0.3", "L1"), ("1.1", "L3")])
def test_loop_has_its_rule(generation, rule):
    """A device CA named like the gateway is told by its case."""
    looped = chain(generation=generation, device_ca_cn=HOST, allow_cn_loop=True)
    assert rule in {one.rule for one in problems(looped.sent, name=HOST, trust=looped.trust)}


def test_time_is_an_argument():
    """A chain that is sound today has expired next year."""
    later = datetime.now(UTC) + timedelta(days=365)
    assert headline(chain(), now=later) == "E1"
    assert headline(chain()) is None


def test_missing_certificate_is_named():
    """The finding says which certificate is missing, who needs it and what to do."""
    broken = chain(["missing-intermediate"])
    first = problems(broken.sent, name=HOST, trust=broken.trust)[0]
    assert '"Azure IoT Hub Intermediate Cert Test Only"' in first.cause
    assert f"{HOST}.ca" in first.evidence
    assert "full chain" in first.fix
    assert broken.sent[first.certificate] == broken.level(Role.DEVICE_CA).certificate


def test_without_trust_nothing_is_said_about_it():
    """Whoever shows a file need not say what leaves trust; then the top issuer may be missing."""
    assert problems(apply_defects(chain(), ["root-not-sent"]).sent) == []


def test_no_certificates_is_told():
    """An empty list is a usage error, not a verdict."""
    with pytest.raises(CertsError):
        problems([])
