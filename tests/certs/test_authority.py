"""The hierarchy that an Authority issues."""

import pytest
from cryptography import x509

from certs import Authority, DeviceCaNameError, Role


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
