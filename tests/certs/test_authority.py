"""The hierarchy that an Authority issues."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs import Authority, DeviceCaNameError, Role
from certs.x509io import is_signed_by
from tests.certs.tls import ACCEPTED, judge


def names(chain):
    """The common names, server first."""
    return [level.common_name for level in chain.levels]


def test_documented_chain_has_the_five_levels_of_the_article():
    """The default hierarchy is the one that the IoT Edge certificate article shows, name for name."""
    chain = Authority(hostname="iotedgegw.local", device_ca_cn="iotgateway.ca").chain()
    assert names(chain) == [
        "iotedgegw.local",
        "iotedge workload ca",
        "iotgateway.ca",
        "Azure IoT Hub Intermediate Cert Test Only",
        "Azure IoT Hub CA Cert Test Only",
    ]
    assert chain.sent == tuple(level.certificate for level in chain.levels)
    assert chain.trust == (chain.level(Role.ROOT).certificate,)


def test_chain_with_a_seed_repeats_byte_for_byte():
    """The same seed gives the same keys, serial numbers, signatures and times."""
    first, second = (Authority(hostname="gw.test", seed=7).chain() for _ in range(2))
    assert (first.sent_pem, first.key_pem) == (second.sent_pem, second.key_pem)
    assert Authority(hostname="gw.test", seed=8).chain().sent_pem != first.sent_pem


@pytest.mark.parametrize("device_ca_cn", ["gw.test", "GW.Test", "other.test"])
def test_device_ca_named_like_the_gateway_is_refused(device_ca_cn):
    """The device CA may not bear a name that leaves use for the gateway, in whatever case."""
    with pytest.raises(DeviceCaNameError) as refused:
        Authority(hostname="gw.test", client_names=["other.test"], device_ca_cn=device_ca_cn)
    assert refused.value.device_ca_cn == device_ca_cn
    assert refused.value.exit_code == 2
    assert ".ca" in refused.value.hint


def test_server_certificate_names_are_lower_case_up_to_1_1():
    """Up to 1.1 the daemon writes the host name in lower case; from 1.2 on verbatim."""

    def server(generation):
        certificate = Authority(hostname="GW.Test", generation=generation, key="ec").chain().server.certificate
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return certificate.subject.rfc4514_string(), san.get_values_for_type(x509.DNSName)

    assert server("1.1") == ("CN=gw.test", ["edgehub", "gw.test"])
    assert server("1.2") == ("CN=GW.Test", ["edgehub", "GW.Test"])


@pytest.mark.parametrize(
    ("story", "options", "expected"),
    [
        ("no intermediate", {"intermediates": 0}, []),
        (
            "two", {"intermediates": 2},
            ["Azure IoT Hub Intermediate Cert Test Only 2", "Azure IoT Hub Intermediate Cert Test Only"],
        ),
        (
            "departments", {"intermediates": ["Contoso Manufacturing", "Contoso Gateways", "Contoso Plant 2"]},
            ["Contoso Plant 2", "Contoso Gateways", "Contoso Manufacturing"],
        ),
        (
            "companies in a row", {"intermediates": ["CN=Board Maker,O=Fabrikam", "CN=Integrator,O=Contoso"]},
            ["Integrator", "Board Maker"],
        ),
        (
            "a customer's bought root",
            {"root_cn": "Trusted Commercial Root CA", "intermediates": ["Customer Signing CA", "Manufacturer CA"]},
            ["Manufacturer CA", "Customer Signing CA"],
        ),
    ],
)  # fmt: skip
def test_intermediates_tell_the_articles_stories(story, options, expected, tmp_path):
    """Departments, companies in a row and a bought root: named from the top down, and accepted with the root alone."""
    chain = Authority(hostname="gw.test", **options).chain()
    assert [level.common_name for level in chain.levels if level.role is Role.INTERMEDIATE] == expected, story
    assert chain.root.common_name == options.get("root_cn", "Azure IoT Hub CA Cert Test Only")
    assert judge(chain, tmp_path) == ACCEPTED


def test_identities_are_signed_by_whom_the_product_has_sign_them():
    """Devices below the last intermediate, the verification code below the root, modules below the workload CA."""
    authority = Authority(hostname="gw.test", intermediates=2)
    chain = authority.chain()
    for level, issuer, role in (
        (authority.device("press-7"), chain.level(Role.INTERMEDIATE), Role.DEVICE),
        (authority.edge_identity("edge-1"), chain.level(Role.INTERMEDIATE), Role.EDGE_IDENTITY),
        (authority.verification("ABC123"), chain.level(Role.ROOT), Role.VERIFICATION),
        (authority.module("filter"), chain.level(Role.WORKLOAD_CA), Role.MODULE),
    ):
        assert level.role is role
        assert is_signed_by(level.certificate, issuer.certificate)
        usage = level.template.get(x509.ExtendedKeyUsage)
        assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
        assert not level.template.get(x509.BasicConstraints) or not level.template.get(x509.BasicConstraints).ca
    assert authority.device("press-7").common_name == "press-7"


def test_module_identity_names_its_hub():
    """The daemon writes the module's address into a DNS name, odd but literal."""
    authority = Authority(hostname="gw.test", generation="1.5", key="ec", device_id="edge-1", hub_hostname="hub.test")
    names = authority.module("filter").template.get(x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["URI: azureiot://hub.test/devices/edge-1/modules/filter"]


@pytest.mark.parametrize("generation", ["quickstart", "certgen"])
def test_identities_without_intermediate_or_device_ca(generation):
    """Where a level is missing, the next one above signs."""
    authority = Authority(hostname="gw.test", generation=generation, key="ec", intermediates=0)
    issuer = authority.chain().root.certificate
    assert is_signed_by(authority.device("press-7").certificate, issuer)
    assert is_signed_by(authority.module("filter").certificate, issuer)


def test_seeded_chain_has_the_days_issue_time():
    """With a seed the issue time is a midnight, so that the bytes repeat all day; a fixed time repeats for ever."""
    seeded = Authority(seed=1).chain().server.template.not_before
    assert (seeded.hour, seeded.minute, seeded.second) == (0, 0, 0)
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert Authority(seed=1, now=moment).chain().sent_pem == Authority(seed=1, now=moment).chain().sent_pem


def test_authority_gives_one_chain():
    """Asked twice, an authority gives the same chain."""
    authority = Authority()
    assert authority.chain() is authority.chain()


def test_device_ca_loop_is_built_on_request():
    """With allow_cn_loop the forbidden name is used as it is."""
    chain = Authority(hostname="gw.test", device_ca_cn="GW.test", allow_cn_loop=True).chain()
    assert chain.level(Role.DEVICE_CA).common_name == "GW.test"


def test_device_ca_rule_looks_at_the_common_name_of_a_whole_subject():
    """A subject with more parts hides nothing from the rule."""
    with pytest.raises(DeviceCaNameError) as refused:
        Authority(hostname="gw.test", device_ca_cn="CN=gw.test,O=Contoso")
    assert refused.value.clashes_with == "gw.test"
