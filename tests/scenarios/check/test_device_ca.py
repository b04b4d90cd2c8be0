"""What the device CA's file means for the chain that leaves will see."""

from __future__ import annotations

import pytest
from cryptography import x509

from certs import Role, apply_defects, other_root, same_named_root
from certs.x509io import to_pem
from scenarios.check.model import Status
from tests.scenarios.check.conftest import NAME, Files, authority, findings, outcomes, subject


def test_device_ca_alone_in_its_file_is_an_error(files: Files) -> None:
    """The intermediate is missing, and the bundle has only the root: Edge Hub could not serve the whole chain."""
    files.device_ca.write_bytes(files.chain.level(Role.DEVICE_CA).pem)
    found = findings(subject(files.configured()), Status.ERROR)
    assert set(found) == {"device-ca-full-chain"}
    assert 'its issuer "Azure IoT Hub Intermediate Cert Test Only" is neither in it nor in' in "".join(*found.values())


def test_device_ca_alone_is_a_warning_where_the_trust_is_not_known(files: Files) -> None:
    """Without a trust bundle its issuer may be what leaves trust."""
    files.device_ca.write_bytes(files.chain.level(Role.DEVICE_CA).pem)
    configured = files.configured(files=files.configured().files[:1])
    assert set(findings(subject(configured), Status.WARNING)) == {"device-ca-full-chain"}
    assert findings(subject(configured), Status.ERROR) == {}


def test_device_ca_below_the_root_itself_needs_no_more_in_its_file(files: Files) -> None:
    """Without intermediates the device CA's file with the root in the bundle is the full chain."""
    files.chain = authority(intermediates=0).chain()
    files.write()
    files.device_ca.write_bytes(files.chain.level(Role.DEVICE_CA).pem)
    assert outcomes(subject(files.configured()))["device-ca-full-chain"].status is Status.OK


def test_full_chain_out_of_order_is_a_warning(files: Files) -> None:
    """Some TLS stacks want leaf to root."""
    first, *rest = (one.pem for one in files.chain.levels[2:])
    files.device_ca.write_bytes(b"".join([first, *reversed(rest)]))
    found = findings(subject(files.configured()), Status.WARNING)
    assert "not sent in order" in found["device-ca-full-chain"][0]


def test_device_ca_made_again_no_longer_fits_its_issuer(files: Files) -> None:
    """An intermediate of the same name with another key did not sign the device CA."""
    other = authority(seed=2).chain()
    files.device_ca.write_bytes(files.chain.level(Role.DEVICE_CA).pem + other.level(Role.INTERMEDIATE).pem)
    assert set(findings(subject(files.configured()), Status.ERROR)) == {"device-ca-full-chain"}


@pytest.mark.parametrize(("make", "words"), [(other_root, "does not trust the root"), (same_named_root, "another key")])
def test_trust_bundle_without_the_root_is_an_error(files: Files, make, words: str) -> None:
    """Another root, or one of the same name that was made again."""
    files.bundle.write_bytes(to_pem([make(files.chain)]))
    found = findings(subject(files.configured()), Status.ERROR)
    assert set(found) == {"trust-bundle-root"}
    assert words in found["trust-bundle-root"][0]


@pytest.mark.parametrize(
    ("defect", "words"),
    [("device-ca-not-ca", "is no CA"), ("device-ca-without-certsign", "may not sign certificates")],
)
def test_device_ca_that_may_not_sign_is_an_error(files: Files, defect: str, words: str) -> None:
    """An ordinary certificate, or one without keyCertSign, was configured as device CA."""
    files.chain = apply_defects(files.chain, [defect])
    files.write()
    found = findings(subject(files.configured()), Status.ERROR)
    assert set(found) == {"device-ca-may-sign"}
    assert words in found["device-ca-may-sign"][0]


@pytest.mark.parametrize(("workload_ca", "status"), [(True, Status.ERROR), (False, Status.OK)])
def test_path_length_zero_is_too_little_for_a_workload_ca_only(files: Files, workload_ca: bool, status: Status) -> None:
    """Up to 1.1 the daemon makes an authority below the device CA; from 1.2 on it makes a server certificate."""
    limit = x509.BasicConstraints(ca=True, path_length=0)
    files.chain = files.chain.reissue(Role.DEVICE_CA, lambda old: old.with_extension(limit, critical=True))
    files.write()
    found = outcomes(subject(files.configured(workload_ca=workload_ca)))["device-ca-may-sign"]
    assert (found.status, found.facts) == (status, {"path_length": 0})


def test_device_ca_named_like_the_gateway_is_a_warning(files: Files) -> None:
    """The documentation's rule against a CN loop, whatever the case of the letters."""
    files.chain = authority(device_ca_cn=NAME.upper(), allow_cn_loop=True).chain()
    files.write()
    found = findings(subject(files.configured()), Status.WARNING)
    assert set(found) == {"device-ca-common-name"}
    assert "documentation forbids" in found["device-ca-common-name"][0]
