"""Devices that show a certificate instead of a token."""

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs import Authority, Role
from certs.chain import Level
from gateway.events import ClientConnected, ConnectionRefused
from tests.interop.sdk.marks import MARKS
from tests.interop.sdk.process import SdkError
from tests.interop.sdk.words import connack

pytestmark = MARKS


@pytest.fixture
def identity(tmp_path):
    """Writes a device certificate to disk: `identity(room, level, device_id)` is what a client is told."""

    def write(room, level, device_id="dev1", chain=b""):
        certificate, key = tmp_path / "device.pem", tmp_path / "device.key.pem"
        certificate.write_bytes(level.pem + chain)
        key.write_bytes(level.key_pem)
        return {
            "x509": {
                "certificate": str(certificate),
                "key": str(key),
                "hub": room.gateway.hub_hostname,
                "device_id": device_id,
                "gateway": room.gateway.hostname,
            }
        }

    return write


def self_signed(authority):
    """A certificate that nobody else has signed, as devices with thumbprints have."""
    old = authority.device("dev1")
    return Level.issue(Role.DEVICE, old.template, old.key)


def thumbprint(level, algorithm):
    """The digest of a certificate as the portal shows it."""
    return hashlib.new(algorithm, level.certificate.public_bytes(Encoding.DER)).hexdigest().upper()


async def test_thumbprint_is_enough(room, sdk, transport, authority, identity):
    """A self-signed certificate whose SHA-1 or SHA-256 is registered connects, without any token."""
    for algorithm in ("sha1", "sha256"):
        level = self_signed(authority)
        room.gateway.add_device(algorithm, thumbprints=("00" * 20, thumbprint(level, algorithm)))
        device = await room.open_x509(sdk, algorithm, transport=transport, **identity(room, level, algorithm))
        await device.send(body="1")
        assert (await room.message(algorithm)).body == b"1"
        assert (await room.event(ClientConnected, client_id=algorithm)).client_id == algorithm


async def test_another_certificate_is_refused(room, sdk, transport, authority, identity):
    """The TLS handshake accepts any certificate, CONNECT does not: CONNACK 5."""
    mine, other = self_signed(authority), self_signed(Authority(hostname="localhost"))
    room.gateway.add_device("dev1", thumbprints=(thumbprint(mine, "sha256"),))
    with pytest.raises(SdkError) as refused:
        await room.open_x509(sdk, transport=transport, **identity(room, other))
    assert refused.value.chain == connack(sdk, 5)
    reason = (await room.event(ConnectionRefused)).reason
    assert reason == "the certificate's thumbprint is neither the primary nor the secondary one"


async def test_certificate_of_an_authority_is_enough(room, sdk, transport, authority, identity):
    """A certificate whose chain ends in the gateway's trust bundle, and whose common name is the device's, connects."""
    room.gateway.add_device("dev1", authentication="certificateAuthority")
    chain = authority.chain().level(Role.INTERMEDIATE).pem
    device = await room.open_x509(sdk, transport=transport, **identity(room, authority.device("dev1"), chain=chain))
    await device.send(body="1")
    assert (await room.message()).body == b"1"


UNTRUSTED = "no certificate of its chain is in the trust bundle"


async def refusal(room, sdk, told):
    """Why the gateway refuses a certificate, which each SDK learns as CONNACK 5."""
    room.gateway.add_device("dev1", authentication="certificateAuthority")
    with pytest.raises(SdkError) as refused:
        await room.open_x509(sdk, **told)
    assert refused.value.chain == connack(sdk, 5)
    return (await room.event(ConnectionRefused)).reason


async def test_certificate_for_another_device_is_refused(room, sdk, authority, identity):
    """The common name is compared letter by letter."""
    chain = authority.chain().level(Role.INTERMEDIATE).pem
    told = identity(room, authority.device("DEV1"), chain=chain)
    assert await refusal(room, sdk, told) == "the certificate's common name (CN) is not the device id"


async def test_certificate_without_its_intermediate_is_refused(room, sdk, authority, identity):
    """The device has to send what lies between its certificate and the trust bundle."""
    assert await refusal(room, sdk, identity(room, authority.device("dev1"))) == UNTRUSTED


async def test_certificate_of_another_authority_is_refused(room, sdk, identity):
    """A chain as good as the right one, below another root."""
    other = Authority(hostname="localhost")
    told = identity(room, other.device("dev1"), chain=other.chain().level(Role.INTERMEDIATE).pem)
    assert await refusal(room, sdk, told) == UNTRUSTED


async def test_module_with_a_certificate_is_refused(room, sdk, authority, identity):
    """Through a gateway modules have tokens and nothing else."""
    room.gateway.add_device("dev2")
    room.gateway.connection_string("dev2", "filter")
    told = identity(room, authority.device("dev2"), "dev2", chain=authority.chain().level(Role.INTERMEDIATE).pem)
    told["x509"]["module_id"] = "filter"
    assert await refusal(room, sdk, {**told, "module": True}) == "modules cannot authenticate with a certificate"
