"""What Edge Hub serves, by real handshakes: each defect is told by its check, and by the handshake that it breaks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs import DEFECTS, GENERATIONS, Role, apply_defects, other_root
from certs.x509io import to_pem
from scenarios.check.model import Status
from scenarios.check.subject import EDGE_CA, Configured, Preloaded
from tests.scenarios.check.conftest import NAME, Files, Served, authority, findings, outcomes

#: defect -> the check that tells it, and its words; a defect that OpenSSL accepts is a warning or nothing
TOLD = {
    "missing-intermediate": ("edge-hub-chain-complete", '"Azure IoT Hub Intermediate Cert Test Only" is neither sent'),
    "missing-device-ca": ("edge-hub-chain-complete", '"gw.factory.test.ca" is neither sent nor trusted'),
    "missing-workload-ca": ("edge-hub-chain-complete", '"iotedge workload ca" is neither sent nor trusted'),
    "leaf-only": ("edge-hub-chain-complete", '"iotedge workload ca" is neither sent nor trusted'),
    "root-not-sent": None,
    "wrong-order": ("edge-hub-chain-complete", "Mbed TLS, wolfSSL and BearSSL refuse"),
    "duplicate-certificate": None,
    "device-ca-not-ca": ("edge-hub-chain-authorities", "gw.factory.test.ca signs certificates but is no CA"),
    "device-ca-without-certsign": ("edge-hub-chain-authorities", "gw.factory.test.ca may not sign certificates"),
    "path-length-too-small": ("edge-hub-chain-authorities", "allows 0 authorities below itself and there are 1"),
    "server-is-ca": None,
    "expired-server": ("edge-hub-server-certificate-expiry", "gw.factory.test has expired"),
    "expired-workload-ca": ("edge-hub-chain-expiry", "iotedge workload ca expired at"),
    "expired-device-ca": ("edge-hub-chain-expiry", "gw.factory.test.ca expired at"),
    "expired-intermediate": ("edge-hub-chain-expiry", "Azure IoT Hub Intermediate Cert Test Only expired at"),
    "expired-root": ("edge-hub-chain-expiry", "Azure IoT Hub CA Cert Test Only expired at"),
    "not-yet-valid-server": ("edge-hub-server-certificate-expiry", "gw.factory.test is not valid yet"),
    "no-san": ("edge-hub-server-certificate-names", "where Go, rustls and cryptography do not look"),
    "san-without-hostname": ("edge-hub-server-certificate-names", "in the common name only, which does not count"),
    "ip-as-dns-san": None,
    "server-client-auth-only": ("edge-hub-chain-authorities", "gw.factory.test is not for TLS servers"),
    "no-key-ids": ("edge-hub-tls-stacks", "Python 3.13's create_default_context"),
    "device-ca-without-ski": ("edge-hub-tls-stacks", "Python 3.13's create_default_context"),
    "serial-zero": ("edge-hub-tls-stacks", "serial number 0, which rustls cannot decode"),
    "same-named-root": ("edge-hub-trust", "has the right name but another key"),
    "device-ca-replaced": ("edge-hub-chain-complete", "gw.factory.test.ca was made again"),
}


def test_every_defect_is_told() -> None:
    """The table above has the whole catalogue."""
    assert set(TOLD) == set(DEFECTS)


@pytest.mark.parametrize("defect", TOLD)
def test_defect_is_told_by_exactly_its_check(served: Served, defect: str) -> None:
    """What OpenSSL refuses is an error of its check and of the handshake; what other stacks refuse is one warning."""
    served.serve(apply_defects(authority().chain(), [defect]))
    errors, warnings = (findings(served.subject(), status) for status in (Status.ERROR, Status.WARNING))
    expected = {} if TOLD[defect] is None else {TOLD[defect][0]: TOLD[defect][1]}
    if DEFECTS[defect].verify_code is not None:
        assert "is refused" in errors.pop("edge-hub-tls-handshake")[0]
        assert warnings == {}
    else:
        assert errors == {}
        errors = warnings
    assert set(errors) == set(expected)
    for check, words in expected.items():
        assert words in "\n".join(errors[check])


@pytest.mark.parametrize("generation", GENERATIONS)
def test_healthy_gateway_of_each_generation_has_no_error(served: Served, generation: str) -> None:
    """As each product generation made its certificates, a leaf on OpenSSL connects; only warnings name other stacks."""
    served.serve(authority(generation=generation, **({} if generation == "documented" else {"key": "ec"})).chain())
    found = outcomes(served.subject())
    assert [name for name, one in found.items() if one.status is Status.ERROR] == []
    assert found["edge-hub-tls-handshake"].status is Status.OK


def test_healthy_gateway_has_everything_ok(served: Served) -> None:
    """Today's profile without the serial number 0: not a single warning."""
    served.serve(authority().chain())
    found = outcomes(served.subject())
    assert {one.status for one in found.values()} == {Status.OK, Status.IGNORED, Status.SKIPPED}
    assert [name for name, one in found.items() if one.status is Status.SKIPPED] == [
        "edge-hub-port-amqp",
        "leaf-parent",
    ]


def test_cn_loop_without_key_identifiers_is_an_error(served: Served) -> None:
    """The device CA signs a server certificate of its own subject (1.2): OpenSSL takes it for self-signed."""
    served.serve(authority(generation="1.2", key="ec", device_ca_cn=NAME, allow_cn_loop=True).chain())
    found = findings(served.subject(), Status.ERROR)
    assert set(found) == {"edge-hub-tls-handshake", "edge-hub-cn-loop"}
    assert "self-signed certificate" in found["edge-hub-tls-handshake"][0]
    assert found["edge-hub-cn-loop"][0].startswith("CN loop:")


def test_cn_loop_with_key_identifiers_is_a_warning(served: Served) -> None:
    """The twin: key identifiers tell the two apart, so the leaf connects, and the rule is broken all the same."""
    served.serve(authority(device_ca_cn=NAME, allow_cn_loop=True).chain())
    assert findings(served.subject(), Status.ERROR) == {}
    assert set(findings(served.subject(), Status.WARNING)) == {"edge-hub-cn-loop"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("other.factory.test", "is not in the server certificate"), ("127.0.0.1", "addressed by IP")],
)
def test_name_that_the_certificate_does_not_carry_is_an_error(served: Served, name: str, words: str) -> None:
    """GatewayHostName differs from the gateway's hostname, or is an address."""
    served.serve(authority().chain())
    found = findings(served.subject(name=name), Status.ERROR)
    assert set(found) == {"edge-hub-tls-handshake", "edge-hub-server-certificate-names"}
    assert words in found["edge-hub-server-certificate-names"][0]


@pytest.mark.parametrize(
    ("trust", "words"),
    [
        (lambda chain: to_pem([other_root(chain)]), "does not trust the root of this chain"),
        (lambda chain: chain.level(Role.DEVICE_CA).pem, "trusts an authority in the middle"),
    ],
)
def test_trust_without_the_root_is_an_error(served: Served, trust, words: str) -> None:
    """Another root, or the device CA in the root's place."""
    served.serve(apply_defects(authority().chain(), ["root-not-sent"]))
    found = findings(served.subject(trust(served.gateway.chain)), Status.ERROR)
    assert set(found) == {"edge-hub-tls-handshake", "edge-hub-trust"}
    assert words in found["edge-hub-trust"][0]


def test_quickstart_certificates_are_not_trusted_by_a_leaf_with_the_own_root(served: Served) -> None:
    """The gateway still serves what the daemon made by itself: the cause is named."""
    root = authority().chain().trust_pem
    served.serve(authority(generation="quickstart", key="ec").chain())
    found = findings(served.subject(root), Status.ERROR)
    assert set(found) == {"edge-hub-tls-handshake", "edge-hub-trust"}
    assert "quickstart certificates" in found["edge-hub-trust"][0]


def test_without_trust_only_the_rest_is_judged(served: Served) -> None:
    """Nothing is said about trust, and no handshake is made, when nobody says what leaves trust."""
    served.serve(authority().chain())
    found = outcomes(replace(served.subject(), trust=None))
    skipped = {name for name, one in found.items() if one.status is Status.SKIPPED}
    assert {"edge-hub-tls-handshake", "edge-hub-trust"} <= skipped
    assert "give --trust" in found["edge-hub-trust"].reason
    assert found["edge-hub-server-certificate-names"].status is Status.OK


@pytest.mark.parametrize(("days", "status", "word"), [(-400, Status.ERROR, "1970"), (4000, Status.WARNING, "renewing")])
def test_clock_that_fits_no_certificate_is_told(served: Served, days: int, status: Status, word: str) -> None:
    """Before all of them began the clock is behind; after all of them ended it may be ahead."""
    served.serve(authority().chain())
    found = outcomes(served.subject(now=datetime.now(UTC) + timedelta(days=days)))["host-local-time"]
    assert found.status is status
    assert word in "\n".join(found.details)


def configured_with(files: Files) -> Configured:
    """A configuration with only the device CA."""
    return Configured(hostname=NAME, files=(Preloaded(EDGE_CA, "device CA certificate", files.device_ca),))


def test_gateway_that_serves_other_certificates_than_configured_is_an_error(served: Served, files: Files) -> None:
    """The configuration was not applied: Edge Hub still serves quickstart certificates."""
    served.serve(authority(generation="quickstart", key="ec").chain())
    found = findings(served.subject(configured=configured_with(files)), Status.ERROR)
    assert set(found) == {"edge-hub-serves-device-ca"}
    assert "gw.factory.test.ca" in found["edge-hub-serves-device-ca"][0]
    served.serve(authority().chain())
    assert outcomes(served.subject(configured=configured_with(files)))["edge-hub-serves-device-ca"].status is Status.OK


def test_gateway_that_serves_the_device_ca_of_before_its_renewal_is_a_warning(served: Served, files: Files) -> None:
    """Renewed with the same key: leaves go on, but the end is the earlier one's."""
    served.serve(authority().chain())
    level = files.chain.level(Role.DEVICE_CA)
    renewed = level.reissue(replace(level.template, serial=level.template.serial + 1))
    files.device_ca.write_bytes(renewed.certificate.public_bytes(Encoding.PEM))
    found = outcomes(served.subject(configured=configured_with(files)))["edge-hub-serves-device-ca"]
    assert found.status is Status.WARNING
    assert "an earlier certificate of the same device CA" in found.details[0]
