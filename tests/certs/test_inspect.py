"""A hierarchy in words."""

import pytest

from certs import Authority, apply_defects
from certs.inspect import lines, tree


def chain(defects=(), **options):
    """A chain for gw.test with these defects."""
    return apply_defects(Authority(hostname="gw.test", key="ec", **options).chain(), defects)


@pytest.mark.parametrize(
    ("generation", "roles"),
    [
        ("documented", "root intermediate device-ca workload-ca server"),
        ("1.0.3", "root intermediate device-ca workload-ca server"),
        ("1.5", "root intermediate device-ca server"),
        ("quickstart", "device-ca server"),
        ("certgen", "root intermediate server"),
    ],
)
def test_roles_are_recognised(generation, roles):
    """Names, extensions and position tell each certificate's role, the trusted root's included."""
    made = chain(generation=generation)
    assert " ".join(line.role for line in lines(made.sent, trust=made.trust)) == roles


def test_device_ca_file_is_recognised():
    """A file that starts with the device CA is a chain without a server certificate."""
    made = chain()
    assert [line.role for line in lines(made.sent[2:])] == ["root", "intermediate", "device-ca"]


def test_identity_certificate_is_recognised():
    """A certificate for clients is a device's."""
    authority = Authority(hostname="gw.test", key="ec")
    sent = [authority.device("press-7").certificate, *authority.chain().sent[3:]]
    assert [line.role for line in lines(sent)] == ["root", "intermediate", "device"]


def test_server_certificate_that_says_ca_is_still_the_servers():
    """A wrong CA flag does not hide what a certificate is for."""
    assert lines(chain(["server-is-ca"]).sent)[-1].role == "server"


def test_tree_has_one_line_per_level():
    """Each line says role, common name, issuer and validity, the top first and each level further in."""
    made = chain(seed=1)
    text = tree(made.sent, name="gw.test", trust=made.trust).splitlines()
    assert len(text) == 5
    assert text[0].startswith("root: Azure IoT Hub CA Cert Test Only  |  self-signed  |  20")
    assert text[4].strip().startswith("└─ server: gw.test  |  issued by iotedge workload ca")
    assert len(text[4]) - len(text[4].lstrip()) == 9


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("expired-device-ca", "device-ca: gw.test.ca"),
        ("missing-intermediate", "missing: Azure IoT Hub Intermediate Cert Test Only"),
        ("device-ca-replaced", "wrong key: gw.test.ca"),
        ("san-without-hostname", "server: gw.test"),
    ],
)
def test_tree_says_what_is_wrong_where(defect, said):
    """The line of the level in question carries the remark."""
    broken = chain([defect])
    (line,) = [line for line in lines(broken.sent, name="gw.test", trust=broken.trust) if said in str(line)]
    assert line.remarks
    assert line.remarks[0] in str(line)


def test_what_is_sent_without_belonging_is_shown():
    """Certificates above a gap are sent, but lead nowhere."""
    broken = chain(["missing-device-ca"])
    shown = lines(broken.sent, trust=broken.trust)
    assert [line.common_name for line in shown if line.role == "no part of the chain"] == [
        "Azure IoT Hub Intermediate Cert Test Only",
        "Azure IoT Hub CA Cert Test Only",
    ]


def test_trusted_root_that_is_not_sent_is_marked():
    """A root that only the leaf has is shown as not sent."""
    made = chain(generation="1.5")
    assert lines(made.sent, trust=made.trust)[0].remarks == ("not sent",)
    assert lines(made.sent)[0].remarks == ("not sent",)
    assert lines(made.sent)[0].role == "missing"
