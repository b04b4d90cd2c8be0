"""The working folder of the convenience scripts."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from certs import CachedKeys, CertsError, serial_of
from certs.certgen import WorkingFolder
from certs.files import read_certificates
from certs.keys import load_key
from certs.names import common_name
from certs.scripts import POWERSHELL, PRODUCTS
from certs.x509io import is_signed_by

PREFIXES = {
    "create_device_certificate": "iot-device-gw1",
    "create_edge_device_certificate": "iot-edge-device-gw1",
    "create_edge_device_ca_certificate": "iot-edge-device-ca-gw1",
    "create_edge_device_identity_certificate": "iot-edge-device-identity-gw1",
    "create_edge_server_certificate": "iot-edge-server-gw1",
    "create_verification_certificate": "iot-device-verification-code",
}


def working(folder, said=None, **options):
    """The scripts in this folder, with cached RSA keys, and what they say."""
    options.setdefault("environment", {})
    say = (lambda text: None) if said is None else said.append
    return WorkingFolder(folder, keys=CachedKeys(), say=say, **options)


@pytest.fixture
def scripts(tmp_path):
    """A folder with a root and an intermediate."""
    made = working(tmp_path)
    made.create_root_and_intermediate()
    return made


def one(folder, prefix):
    """The certificate of that prefix."""
    return read_certificates(folder / "certs" / f"{prefix}.cert.pem")[0]


def test_root_and_intermediate_have_the_scripts_names_and_files(tmp_path):
    """Folders, files, subjects and serial numbers are the ones certGen.sh makes."""
    written = working(tmp_path).create_root_and_intermediate()
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {
        "certs/azure-iot-test-only.root.ca.cert.pem",
        "private/azure-iot-test-only.root.ca.key.pem",
        "certs/azure-iot-test-only.intermediate.cert.pem",
        "certs/azure-iot-test-only.intermediate-full-chain.cert.pem",
        "certs/azure-iot-test-only.intermediate.cert.pfx",
        "private/azure-iot-test-only.intermediate.key.pem",
        "csr/azure-iot-test-only.intermediate.csr.pem",
    }
    assert all(path.is_file() for path in written)
    root, intermediate = (one(tmp_path, f"azure-iot-test-only.{level}") for level in ("root.ca", "intermediate"))
    assert root.subject.rfc4514_string() == "CN=Azure_IoT_Hub_CA_Cert_Test_Only"
    assert intermediate.subject.rfc4514_string() == "CN=Azure_IoT_Hub_Intermediate_Cert_Test_Only"
    assert is_signed_by(intermediate, root)
    assert serial_of(intermediate) == 0x1000
    assert root.public_key().key_size == intermediate.public_key().key_size == 4096
    assert (tmp_path / "serial").read_text() == "1001\n"
    assert (tmp_path / "newcerts" / "1000.pem").exists()
    assert (
        (tmp_path / "index.txt")
        .read_text()
        .endswith("\t1000\tunknown\t/CN=Azure_IoT_Hub_Intermediate_Cert_Test_Only\n")
    )


def test_passwords_are_the_scripts(tmp_path):
    """Root and intermediate keys are encrypted with 1234, the root's with ROOT_CA_PASSWORD if set; others are plain."""
    made = working(tmp_path, environment={"ROOT_CA_PASSWORD": "secret"})
    made.create_root_and_intermediate()
    made.create("create_device_certificate", "gw1")
    private = tmp_path / "private"
    assert load_pem_private_key((private / "azure-iot-test-only.root.ca.key.pem").read_bytes(), b"secret")
    assert load_pem_private_key((private / "azure-iot-test-only.intermediate.key.pem").read_bytes(), b"1234")
    assert load_pem_private_key((private / "iot-device-gw1.key.pem").read_bytes(), None)
    with pytest.raises(ValueError, match=r"."):
        load_key((private / "azure-iot-test-only.intermediate.key.pem").read_bytes(), None)


@pytest.mark.parametrize("command", PRODUCTS)
def test_command_writes_its_files(command, scripts):
    """Each command writes key, request, certificate, full chain (root included) and PFX under its prefix."""
    folder, prefix = scripts.folder, PREFIXES[command]
    written = scripts.create(command, "gw1")
    assert {path.relative_to(folder).as_posix() for path in written} == {
        f"private/{prefix}.key.pem",
        f"csr/{prefix}.csr.pem",
        f"certs/{prefix}.cert.pem",
        f"certs/{prefix}-full-chain.cert.pem",
        f"certs/{prefix}.cert.pfx",
    }
    chain = read_certificates(folder / "certs" / f"{prefix}-full-chain.cert.pem")
    assert all(is_signed_by(lower, upper) for lower, upper in zip(chain, [*chain[1:], chain[-1]], strict=True))
    assert len(chain) == (2 if "verification" in command else 3)
    key, certificate, others = pkcs12.load_key_and_certificates(
        (folder / "certs" / f"{prefix}.cert.pfx").read_bytes(), None
    )
    assert certificate == chain[0]
    assert set(others) == set(chain[1:])
    assert key.public_key() == certificate.public_key()
    assert certificate.public_key().key_size == (
        4096 if prefix.startswith(("iot-edge-device-ca", "iot-edge-device-gw1")) else 2048
    )


USAGES = ["digital_signature", "content_commitment", "key_encipherment", "key_cert_sign", "crl_sign"]
AUTHORITY = ("gw1.ca", True, [0, 3, 4], [])
IDENTITY = ("gw1", False, [0, 1, 2], ["clientAuth", "emailProtection"])
SERVER = ("gw1", False, [0, 2], ["serverAuth"])


@pytest.mark.parametrize(
    ("command", "profile"),
    [
        ("create_edge_device_ca_certificate", AUTHORITY),
        ("create_edge_device_certificate", AUTHORITY),
        ("create_device_certificate", IDENTITY),
        ("create_edge_device_identity_certificate", IDENTITY),
        ("create_verification_certificate", IDENTITY),
        ("create_edge_server_certificate", SERVER),
    ],
)
def test_command_makes_the_scripts_profile(command, profile, scripts):
    """Common name with its .ca, CA flag, key usage, purposes, identifiers are as in openssl_root_ca.cnf; no SAN."""
    scripts.create(command, "gw1")
    found = one(scripts.folder, PREFIXES[command])
    extensions = {extension.value.__class__: extension for extension in found.extensions}
    constraints, usage = extensions[x509.BasicConstraints], extensions[x509.KeyUsage]
    purposes = extensions.get(x509.ExtendedKeyUsage)
    assert profile == (
        common_name(found.subject),
        constraints.value.ca,
        [at for at, name in enumerate(USAGES) if getattr(usage.value, name)],
        [oid._name for oid in purposes.value] if purposes else [],
    )
    assert (constraints.critical, usage.critical) == (constraints.value.ca, True)
    assert constraints.value.path_length is None
    identifier = extensions[x509.AuthorityKeyIdentifier].value
    assert identifier.key_identifier is not None
    assert identifier.authority_cert_serial_number is not None
    assert x509.SubjectAlternativeName not in extensions


def test_serial_numbers_count_up(scripts):
    """Each certificate takes the next serial number and a line in index.txt."""
    for name in ("a", "b"):
        scripts.create("create_device_certificate", name)
    assert [serial_of(one(scripts.folder, f"iot-device-{name}")) for name in "ab"] == [0x1001, 0x1002]
    assert (scripts.folder / "serial").read_text() == "1003\n"
    assert len((scripts.folder / "index.txt").read_text().splitlines()) == 3


def test_keys_are_private_to_their_owner(scripts):
    """Keys and PFX files are 0600, their folder 0700."""
    scripts.create("create_device_certificate", "gw1")
    secret = [*scripts.folder.rglob("*.key.pem"), *scripts.folder.rglob("*.pfx")]
    assert len(secret) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert stat.S_IMODE((scripts.folder / "private").stat().st_mode) == 0o700


def test_new_root_moves_the_old_state_aside(tmp_path):
    """Where the scripts wipe, the earlier certificates and keys are moved to a folder that is told."""
    said = []
    made = working(tmp_path, said)
    made.create_root_and_intermediate()
    made.create("create_device_certificate", "gw1")
    key = (tmp_path / "private" / "iot-device-gw1.key.pem").read_bytes()
    made.create_root_and_intermediate()
    assert (tmp_path / "old-1" / "private" / "iot-device-gw1.key.pem").read_bytes() == key
    assert not (tmp_path / "private" / "iot-device-gw1.key.pem").exists()
    assert str(tmp_path / "old-1") in said[-1]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_certificate_made_again_keeps_the_old_one(scripts):
    """A second certificate of the same name is new; the files of the first are moved aside."""
    scripts.create("create_device_certificate", "gw1")
    first = one(scripts.folder, "iot-device-gw1")
    scripts.create("create_device_certificate", "gw1")
    assert one(scripts.folder, "iot-device-gw1") != first
    assert read_certificates(scripts.folder / "certs" / "iot-device-gw1.cert.pem.old-1") == [first]


def test_lifetime_follows_the_setting(tmp_path):
    """Thirty days, or DEFAULT_VALIDITY_DAYS."""
    for folder, environment, days in ((tmp_path / "a", {}, 30), (tmp_path / "b", {"DEFAULT_VALIDITY_DAYS": "7"}, 7)):
        working(folder, environment=environment).create_root_and_intermediate(algorithm="ec")
        root = one(folder, "azure-iot-test-only.root.ca")
        assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=days)


def test_powershell_names_differ(tmp_path):
    """ca-certs.ps1 names root and intermediate otherwise, uses RSA 4096 for all and remembers the algorithm."""
    made = working(tmp_path)
    made.create_root_and_intermediate(POWERSHELL)
    made.create("create_device_certificate", "gw1")
    assert common_name(one(tmp_path, "azure-iot-test-only.root.ca").subject) == "Azure IoT CA TestOnly Root CA"
    assert common_name(one(tmp_path, "iot-device-gw1").issuer) == "Azure IoT CA TestOnly Intermediate CA"
    assert one(tmp_path, "iot-device-gw1").public_key().key_size == 4096
    assert (tmp_path / "algorithmUsed.txt").read_text() == "rsa"


@pytest.mark.parametrize(("algorithm", "curve"), [("ecc", "secp256k1"), ("ec", "secp256r1"), ("ec384", "secp384r1")])
def test_algorithm_is_remembered(algorithm, curve, tmp_path):
    """Later certificates of the folder use the kind of key that its root was made with."""
    working(tmp_path).create_root_and_intermediate(algorithm=algorithm)
    working(tmp_path).create("create_device_certificate", "gw1")
    assert one(tmp_path, "iot-device-gw1").public_key().curve.name == curve


def test_own_root_is_installed(tmp_path, scripts):
    """Somebody's root and key from files get a new intermediate, with the old state moved aside."""
    folder = scripts.folder
    bought = folder / "bought"
    bought.mkdir()
    for name in ("certs/azure-iot-test-only.root.ca.cert.pem", "private/azure-iot-test-only.root.ca.key.pem"):
        (folder / name).rename(bought / name.replace("/", "-"))
    certificate, key = sorted(bought.iterdir())
    scripts.install_root(certificate, key)
    assert is_signed_by(one(folder, "azure-iot-test-only.intermediate"), read_certificates(certificate)[0])
    scripts.create("create_verification_certificate", "CODE")
    assert common_name(one(folder, "iot-device-verification-code").subject) == "CODE"


def test_own_root_that_does_not_fit_is_told(scripts):
    """A key of another certificate, a certificate that is no CA and a wrong password are each named."""
    scripts.create("create_device_certificate", "gw1")
    certs, private = scripts.folder / "certs", scripts.folder / "private"
    root, root_key = certs / "azure-iot-test-only.root.ca.cert.pem", private / "azure-iot-test-only.root.ca.key.pem"
    leaf, leaf_key = certs / "iot-device-gw1.cert.pem", private / "iot-device-gw1.key.pem"
    for certificate, key, said in ((root, leaf_key, "not the key of"), (leaf, leaf_key, "no CA certificate")):
        with pytest.raises(CertsError) as refused:
            scripts.install_root(certificate, key)
        assert said in refused.value.message
    with pytest.raises(CertsError) as refused:
        working(scripts.folder, environment={"ROOT_CA_PASSWORD": "wrong"}).install_root(root, root_key)
    assert "password" in refused.value.message
    assert root.exists()


@pytest.mark.parametrize("name", ["../gw", "a/b", ".hidden", "", "x" * 65])
def test_name_that_cannot_be_is_told(name, scripts):
    """Names become file names and common names; what fits neither is refused before anything is written."""
    before = (scripts.folder / "serial").read_text()
    with pytest.raises(CertsError) as refused:
        scripts.create("create_device_certificate", name)
    assert refused.value.hint
    assert (scripts.folder / "serial").read_text() == before


def test_folder_without_root_is_told(tmp_path):
    """The commands need a root and an intermediate first."""
    with pytest.raises(CertsError) as refused:
        working(tmp_path).create("create_device_certificate", "gw1")
    assert "create_root_and_intermediate" in refused.value.hint


def test_expired_intermediate_is_told(tmp_path):
    """Nothing is issued below an expired intermediate."""
    past = datetime.now(UTC) - timedelta(days=40)
    working(tmp_path, now=past).create_root_and_intermediate(algorithm="ec")
    with pytest.raises(CertsError) as refused:
        working(tmp_path).create("create_device_certificate", "gw1")
    assert "expired on" in refused.value.message


@pytest.mark.parametrize("days", ["0", "-1", "many", "99999", "²"])
def test_wrong_lifetime_is_told(days, tmp_path):
    """DEFAULT_VALIDITY_DAYS must be a number of days."""
    with pytest.raises(CertsError) as refused:
        working(tmp_path, environment={"DEFAULT_VALIDITY_DAYS": days})
    assert days in refused.value.message


def test_unknown_algorithm_is_told(tmp_path):
    """A kind of key that does not exist is refused with those that do."""
    with pytest.raises(CertsError) as refused:
        working(tmp_path).create_root_and_intermediate(algorithm="dsa")
    assert "rsa" in refused.value.hint
