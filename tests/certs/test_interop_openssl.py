"""The openssl program on the files that are written here."""

import subprocess

import pytest

from certs import GENERATIONS, Authority, CachedKeys, layout
from certs.certgen import WorkingFolder
from certs.scripts import POWERSHELL, PRODUCTS

pytestmark = pytest.mark.interop


def openssl(*arguments):
    """Run openssl and return what it says; its failure is the test's."""
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def folder(tmp_path):
    """A working folder with one certificate of each kind."""
    scripts = WorkingFolder(tmp_path, keys=CachedKeys(), environment={})
    scripts.create_root_and_intermediate()
    for command in PRODUCTS:
        scripts.create(command, "gw1")
    return tmp_path


def test_openssl_verifies_every_certificate(folder):
    """openssl verify accepts each certificate below root and intermediate."""
    root = folder / "certs" / "azure-iot-test-only.root.ca.cert.pem"
    intermediate = folder / "certs" / "azure-iot-test-only.intermediate.cert.pem"
    made = [path for path in folder.glob("certs/*.cert.pem") if "full-chain" not in path.name]
    assert len(made) == 2 + len(PRODUCTS)
    for certificate in made:
        said = openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", intermediate, certificate)
        assert said.strip().endswith(": OK")


def test_openssl_reads_keys_requests_and_pfx(folder):
    """openssl reads the encrypted keys with 1234, the plain ones, the requests and the PFX files."""
    for path in folder.glob("private/*.key.pem"):
        openssl("pkey", "-in", path, "-passin", "pass:1234", "-noout")
    encrypted = (folder / "private" / "azure-iot-test-only.root.ca.key.pem").read_text()
    assert encrypted.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    for path in folder.glob("csr/*.csr.pem"):
        assert "verify OK" in openssl("req", "-in", path, "-verify", "-noout")
    for path in folder.glob("certs/*.pfx"):
        password = "1234" if "intermediate" in path.name else ""
        assert "BEGIN CERTIFICATE" in openssl("pkcs12", "-in", path, "-passin", f"pass:{password}", "-nodes")


def test_openssl_shows_the_scripts_extensions(folder):
    """What openssl prints of a certificate is what the scripts' profile says, Netscape extensions included."""
    said = openssl("x509", "-in", folder / "certs" / "iot-device-gw1.cert.pem", "-noout", "-text")
    for text in (
        "SSL Client, S/MIME", "OpenSSL Generated Client Certificate",
        "TLS Web Client Authentication, E-mail Protection",
        "Digital Signature, Non Repudiation, Key Encipherment", "serial:10:00",
    ):  # fmt: skip
        assert text in said
    said = openssl("x509", "-in", folder / "certs" / "iot-edge-server-gw1.cert.pem", "-noout", "-text")
    assert "SSL Server" in said
    assert "OpenSSL Generated Server Certificate" in said


def test_openssl_ca_goes_on_in_the_folder(folder, tmp_path):
    """The database that is left behind is one that openssl ca itself accepts."""
    config = tmp_path / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index.txt\nserial={folder}/serial\nnew_certs_dir={folder}/newcerts\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    name = "azure-iot-test-only.intermediate"
    openssl(
        "ca", "-batch", "-config", config, "-days", "5", "-notext", "-passin", "pass:1234",
        "-cert", folder / "certs" / f"{name}.cert.pem", "-keyfile", folder / "private" / f"{name}.key.pem",
        "-in", folder / "csr" / "iot-device-gw1.csr.pem", "-out", tmp_path / "again.pem",
    )  # fmt: skip
    assert f"serial={0x1001 + len(PRODUCTS):X}" in openssl("x509", "-in", tmp_path / "again.pem", "-noout", "-serial")


def test_openssl_verifies_powershells_files(tmp_path):
    """The other script's names verify as well."""
    scripts = WorkingFolder(tmp_path, keys=CachedKeys(), environment={})
    scripts.create_root_and_intermediate(POWERSHELL)
    scripts.create("create_edge_device_ca_certificate", "gw1")
    certs = tmp_path / "certs"
    said = openssl(
        "verify", "-CAfile", certs / "azure-iot-test-only.root.ca.cert.pem",
        "-untrusted", certs / "azure-iot-test-only.intermediate.cert.pem", certs / "iot-edge-device-ca-gw1.cert.pem",
    )  # fmt: skip
    assert said.strip().endswith(": OK")


@pytest.mark.parametrize("key", ["ec", "rsa2048"])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_openssl_verifies_every_generation(generation, key, tmp_path):
    """openssl verify accepts what each generation sends, below what leaves trust and for the host name."""
    chain = Authority(hostname="gw.test", generation=generation, key=key, keys=CachedKeys()).chain()
    layout.save(chain, tmp_path)
    sent = tmp_path / layout.FOLDER / layout.SENT_FILE
    said = openssl(
        "verify", "-CAfile", layout.trust_file(tmp_path), "-untrusted", sent, "-verify_hostname", "gw.test", sent
    )
    assert said.strip().endswith(": OK")
