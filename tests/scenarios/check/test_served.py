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

#: defect -> the check that tells it, and its words; what OpenSSL accepts is a warning
TOLD = {
    "device-ca-not-ca": {"edge-hub-chain-authorities": "gw.factory.test.ca signs certificates but is no CA"},
    "device-ca-without-certsign": {"edge-hub-chain-authorities": "gw.factory.test.ca may not sign certificates"},
    "path-length-too-small": {"edge-hub-chain-authorities": "gw.factory.test.ca allows 0 authorities below itself and"},
    "server-is-ca": {"edge-hub-chain-authorities": "the server certificate gw.factory.test says that it is a CA"},
    "device-ca-without-basic-constraints": {
        "edge-hub-chain-authorities": "gw.factory.test.ca signs certificates but is no CA"
    },
    "device-ca-plain-certificate": {"edge-hub-chain-authorities": "gw.factory.test.ca signs certificates but is no CA"},
    "device-ca-path-length-zero": {
        "edge-hub-chain-authorities": "gw.factory.test.ca allows 0 authorities below itself and"
    },
    "intermediate-path-length-zero": {
        "edge-hub-chain-authorities": "Azure IoT Hub Intermediate Cert Test Only allows 0"
    },
    "root-path-length-one": {
        "edge-hub-chain-authorities": "Azure IoT Hub CA Cert Test Only allows 1 authorities below"
    },
    "server-client-auth-only": {"edge-hub-chain-authorities": "gw.factory.test is not for TLS servers"},
    "workload-ca-client-auth-only": {"edge-hub-chain-authorities": "iotedge workload ca is not for TLS servers"},
    "name-constraints-kept": {"edge-hub-chain-authorities": "gw.factory.test.ca has name constraints, which small TLS"},
    "name-constraints-violated": {"edge-hub-chain-authorities": "gw.factory.test.ca may not sign for edgehub"},
    "no-key-ids": {"edge-hub-tls-stacks": "strict clients refuse this chain: Python 3.13's"},
    "device-ca-without-ski": {"edge-hub-tls-stacks": "strict clients refuse this chain: Python 3.13's"},
    "serial-zero": {"edge-hub-tls-stacks": "gw.factory.test has serial number 0, which rustls cannot"},
    "no-authority-key-ids": {"edge-hub-tls-stacks": "strict clients refuse this chain: Python 3.13's"},
    "workload-ca-points-to-another-key": {
        "edge-hub-chain-complete": "iotedge workload ca points to another issuer than"
    },
    "workload-ca-points-to-another-serial": {
        "edge-hub-chain-complete": "iotedge workload ca points to another issuer than"
    },
    "same-serials": {"edge-hub-tls-stacks": "Azure IoT Hub Intermediate Cert Test Only and Azure IoT Hub"},
    "same-named-root": {"edge-hub-trust": "the trusted root has the right name but another key: the"},
    "device-ca-replaced": {"edge-hub-chain-complete": "gw.factory.test.ca was made again, and what its old key"},
    "server-rsa-1024": {"edge-hub-tls-stacks": "gw.factory.test has an RSA key of 1024 bits"},
    "device-ca-rsa-1024": {"edge-hub-tls-stacks": "gw.factory.test.ca has an RSA key of 1024 bits"},
    "server-sha1": {"edge-hub-tls-stacks": "gw.factory.test is signed with SHA-1"},
    "device-ca-sha1": {"edge-hub-tls-stacks": "gw.factory.test.ca is signed with SHA-1"},
    "no-san": {"edge-hub-server-certificate-names": "the name stands in the common name only, where Go, rustls"},
    "san-without-hostname": {
        "edge-hub-server-certificate-names": "the name stands in the common name only, which does not"
    },
    "wildcard-common-name": {
        "edge-hub-server-certificate-names": "the name stands in the common name only, where Go, rustls"
    },
    "trailing-dot": {"edge-hub-server-certificate-names": "gw.factory.test. is not gw.factory.test: a dot at the end"},
    "server-without-subject": {"edge-hub-tls-stacks": "the server certificate has no subject, which Java and old"},
    "loop-device-ca": {"edge-hub-cn-loop": "CN loop: the server certificate has the device CA's subject"},
    "loop-workload-ca": {"edge-hub-cn-loop": "CN loop: the workload CA has the device CA's subject; key"},
    "missing-intermediate": {"edge-hub-chain-complete": 'a certificate is missing: "Azure IoT Hub Intermediate Cert'},
    "missing-device-ca": {"edge-hub-chain-complete": 'a certificate is missing: "gw.factory.test.ca" is neither'},
    "missing-workload-ca": {"edge-hub-chain-complete": 'a certificate is missing: "iotedge workload ca" is neither'},
    "leaf-only": {"edge-hub-chain-complete": 'a certificate is missing: "iotedge workload ca" is neither'},
    "wrong-order": {"edge-hub-chain-complete": "the certificates are not sent in order from the server's to"},
    "shuffled-order": {"edge-hub-chain-complete": "the certificates are not sent in order from the server's to"},
    "second-server-same-serial": {
        "edge-hub-chain-complete": "a certificate is sent that is no part of the chain",
        "edge-hub-tls-stacks": "gw.factory.test and gw.factory.test have the same issuer",
    },
    "other-root-trusted": {"edge-hub-trust": "the leaf does not trust the root of this chain"},
    "device-ca-trusted": {"edge-hub-trust": "the leaf trusts an authority in the middle and not the root"},
    "intermediate-trusted": {"edge-hub-trust": "the leaf trusts an authority in the middle and not the root"},
    "server-trusted": {"edge-hub-trust": "the leaf trusts an authority in the middle and not the root"},
    "stale-root-trusted": {"edge-hub-trust": "the trusted root has the right name but another key: the"},
    "renewed-root-trusted": {"edge-hub-trust": "the trusted root was renewed with its key, and what it"},
    "self-signed-server": {"edge-hub-trust": "the server certificate is self-signed and not trusted"},
    "expired-server": {"edge-hub-server-certificate-expiry": "gw.factory.test has expired"},
    "expired-workload-ca": {"edge-hub-chain-expiry": "iotedge workload ca expired at"},
    "expired-device-ca": {"edge-hub-chain-expiry": "gw.factory.test.ca expired at"},
    "expired-intermediate": {"edge-hub-chain-expiry": "Azure IoT Hub Intermediate Cert Test Only expired at"},
    "expired-root": {"edge-hub-chain-expiry": "Azure IoT Hub CA Cert Test Only expired at"},
    "not-yet-valid-server": {"edge-hub-server-certificate-expiry": "gw.factory.test is not valid yet"},
    "not-yet-valid-workload-ca": {"edge-hub-chain-expiry": "iotedge workload ca has not-before time"},
    "not-yet-valid-root": {"edge-hub-chain-expiry": "Azure IoT Hub CA Cert Test Only has not-before time"},
}
#: defects that no check warns of in this chain: harmless, or harmless under this name
SILENT = {
    "server-outlives-issuer",
    "signed-by-device-ca",
    "server-without-basic-constraints",
    "server-without-key-usage",
    "server-without-extended-key-usage",
    "workload-ca-server-auth",
    "serial-positive",
    "root-sha1",
    "ip-as-dns-san",
    "with-san",
    "wildcard-san",
    "server-with-another-common-name",
    "loop-intermediate",
    "loop-root",
    "root-not-sent",
    "duplicate-certificate",
    "root-sent",
    "server-sent-again-last",
    "unrelated-certificate",
    "intermediate-trusted-too",
    "both-roots-trusted",
}
#: a server does not even start with this
UNSERVED = {"key-of-another-certificate"}


def test_every_defect_is_told() -> None:
    """The tables above have the whole catalogue."""
    assert {*TOLD, *SILENT, *UNSERVED} == set(DEFECTS)


@pytest.mark.parametrize("defect", [*TOLD, *sorted(SILENT)])
def test_defect_is_told_by_exactly_its_check(served: Served, defect: str) -> None:
    """What OpenSSL refuses is an error of its check and of the handshake; what other stacks refuse is a warning."""
    served.serve(apply_defects(authority().chain(), [defect]))
    errors, warnings = (findings(served.subject(), status) for status in (Status.ERROR, Status.WARNING))
    if DEFECTS[defect].verify_code is None:
        assert errors == {}
        errors = warnings
    else:
        assert "is refused" in errors.pop("edge-hub-tls-handshake")[0]
        assert warnings == {}
    expected = TOLD.get(defect, {})
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
