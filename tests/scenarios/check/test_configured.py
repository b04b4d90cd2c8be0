"""Configurations of a gateway as people write them, with the files of the convenience scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from certs import CachedKeys, CertsError
from certs.certgen import WorkingFolder
from scenarios.check.configured import configured_in
from scenarios.check.model import Status
from scenarios.check.sources import Inputs, find
from scenarios.check.subject import AMQP, EDGE_CA, HTTPS, IDENTITY, MQTT, PORTS, TRUST_BUNDLE, Configured
from scenarios.errors import ScenariosError
from tests.scenarios.check.conftest import findings, outcomes
from tests.scenarios.command import inside

TOML = """\
hostname = "gw1.factory.test"
trust_bundle_cert = "file://{certs}/certs/azure-iot-test-only.root.ca.cert.pem"

[provisioning]
source = "manual"
connection_string = "HostName=my-hub.azure-devices.net;DeviceId=gw1;SharedAccessKey=c2VjcmV0IGtleQ=="

[edge_ca]
cert = "file://{certs}/certs/iot-edge-device-ca-gw1-full-chain.cert.pem"
pk = "file://{certs}/private/iot-edge-device-ca-gw1.key.pem"
"""

YAML = """\
provisioning:
  source: "manual"
  device_connection_string: "HostName=my-hub.azure-devices.net;DeviceId=gw1;SharedAccessKey=c2VjcmV0IGtleQ=="
certificates:
  device_ca_cert: "{certs}/certs/iot-edge-device-ca-gw1-full-chain.cert.pem"
  device_ca_pk: "file://{certs}/private/iot-edge-device-ca-gw1.key.pem"
  trusted_ca_certs: "{certs}/certs/azure-iot-test-only.root.ca.cert.pem"
hostname: "gw1.factory.test"
"""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the convenience scripts with the device CA of a gateway."""
    folder = tmp_path_factory.mktemp("certs")
    scripts = WorkingFolder(folder, keys=CachedKeys(), environment={})
    scripts.create_root_and_intermediate(algorithm="ec")
    scripts.create("create_edge_device_ca_certificate", "gw1")
    scripts.create("create_edge_device_identity_certificate", "gw1")
    return folder


def written(folder: Path, text: str, name: str = "config.toml", **values: object) -> Path:
    """A configuration in a file."""
    path = folder / name
    path.write_text(text.format(**values))
    return path


@pytest.mark.parametrize(("name", "text"), [("config.toml", TOML), ("config.yaml", YAML)])
def test_configuration_with_the_scripts_files_has_no_finding(
    certs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    """Both formats mean the same files; what is elsewhere is skipped with its reason; no key is told."""
    done = inside(capsys, "check", "--iotedge-config", written(tmp_path, text, name, certs=certs))
    assert done.returncode == 0, done.stdout
    assert "9 check(s) succeeded." in done.stdout
    assert "leafgate connects to it only with --iothub-hostname my-hub.azure-devices.net" in done.stdout
    assert "gw1.factory.test is no name of this machine's loopback addresses: give HOST:PORT" in done.stdout
    assert "c2VjcmV0" not in done.stdout + repr(configured_in(tmp_path / name))


@pytest.mark.parametrize(("name", "text", "workload_ca"), [("config.toml", TOML, False), ("config.yaml", YAML, True)])
def test_workload_ca_is_the_old_daemons(tmp_path: Path, name: str, text: str, workload_ca: bool) -> None:
    """config.yaml is 1.1's, whose daemon makes a workload CA below the device CA."""
    assert configured_in(written(tmp_path, text, name, certs="/x")).workload_ca is workload_ca


def test_files_are_looked_up_below_another_root(certs: Path, tmp_path: Path) -> None:
    """A gateway's disk, mounted: absolute paths of the configuration are below it."""
    disk = tmp_path / "disk"
    (disk / "var").mkdir(parents=True)
    (disk / "var" / "gw").symlink_to(certs)
    found = configured_in(written(tmp_path, TOML, certs="/var/gw"), disk)
    assert found.files[0].certificate == disk / "var/gw/certs/iot-edge-device-ca-gw1-full-chain.cert.pem"
    subject = find(Inputs(config=tmp_path / "config.toml", root=disk))
    assert findings(subject, Status.ERROR) == {}
    assert outcomes(subject)["certs-read"].status is Status.OK


def test_configured_trust_bundle_is_what_leaves_trust(certs: Path, tmp_path: Path) -> None:
    """Unless the user says otherwise."""
    path = written(tmp_path, TOML, certs=certs)
    bundle = certs / "certs" / "azure-iot-test-only.root.ca.cert.pem"
    assert find(Inputs(config=path)).trust == bundle
    other = certs / "certs" / "azure-iot-test-only.intermediate.cert.pem"
    assert find(Inputs(config=path, trust=other)).trust == other


X509_MANUAL = """\
hostname = "gw1"
[provisioning]
source = "manual"
iothub_hostname = "localhost"
[provisioning.authentication]
method = "x509"
identity_cert = "file:///a/gw%201.pem"
identity_pk = "pkcs11:token=edge;object=id"
"""
X509_DPS = """\
[provisioning]
source = "dps"
[provisioning.attestation]
method = "x509"
identity_pk = "file:///a/key.pem"
identity_cert = {{ method = "est", common_name = "gw1" }}
[edge_ca]
method = "est"
"""


def test_identity_of_manual_provisioning_is_read(tmp_path: Path) -> None:
    """A file by URI, a key in a token; a hub on this machine is connected to."""
    path = written(tmp_path, X509_MANUAL)
    [identity] = configured_in(path).files
    assert (identity.id, identity.certificate, identity.key) == (
        IDENTITY,
        Path("/a/gw 1.pem"),
        "it is no file (pkcs11:)",
    )
    assert find(Inputs(config=path)).hub == {one: ("localhost", PORTS[one]) for one in (MQTT, HTTPS, AMQP)}


def test_certificates_that_are_issued_on_the_way_are_no_files(tmp_path: Path) -> None:
    """EST for identity and device CA; the hub is not known with DPS, and the host name is the machine's."""
    found = configured_in(written(tmp_path, X509_DPS))
    assert {one.id: one.certificate for one in found.files} == {
        EDGE_CA: "it is issued by est",
        IDENTITY: "it is issued by the certificate service",
    }
    assert (found.hostname, found.hub_hostname, found.quickstart) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "text"), [("config.toml", 'hostname = "gw"\n'), ("config.yaml", 'hostname: "gw"\ncertificates: null\n')]
)
def test_configuration_without_a_device_ca_is_the_quickstart(tmp_path: Path, name: str, text: str) -> None:
    """The daemon makes a device CA by itself."""
    path = written(tmp_path, text, name)
    assert configured_in(path) == Configured(
        hostname="gw", workload_ca=name.endswith("yaml"), quickstart=configured_in(path).quickstart
    )
    assert set(findings(find(Inputs(config=path)), Status.WARNING)) == {"certificates-quickstart"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.toml", 'hostname = "secret', "is no TOML file: .*document"),
        ("config.toml", "hostname = secret", "is no TOML file: .*line 1, column"),
        ("config.toml", "hostname: gw", "is no TOML file"),
        ("config.yaml", "hostname: [secret", "is no YAML file: line"),
        ("config.yaml", "a: " + "[" * 5000, "is no YAML file"),
        ("config.toml", "a = " + "[" * 5000, "is no TOML file"),
        ("config.yaml", "secret", "is no configuration"),
        ("config.yaml", "a: !!python/object:os.system secret", "is no YAML file"),
    ],
)
def test_file_that_is_no_configuration_is_told_where(tmp_path: Path, name: str, text: str, words: str) -> None:
    """Line and column, and nothing of what the file says; exit code 2."""
    with pytest.raises(ScenariosError, match=words) as refused:
        configured_in(written(tmp_path, text, name))
    assert refused.value.exit_code == 2
    assert "secret" not in refused.value.message


def test_configuration_that_does_not_exist_is_told() -> None:
    """A user's mistake."""
    with pytest.raises(CertsError, match="cannot be read"):
        configured_in(Path("/no/such/config.toml"))


def test_device_ca_that_does_not_belong_to_the_trust_bundle_is_found(certs: Path, tmp_path: Path) -> None:
    """The root was made again after the device CA: the bundle's has the same name and another key."""
    other = WorkingFolder(tmp_path / "again", keys=None, environment={})
    other.create_root_and_intermediate(algorithm="ec")
    bundle = tmp_path / "again" / "certs" / "azure-iot-test-only.root.ca.cert.pem"
    text = TOML.format(certs=certs).replace(f"{certs}/certs/azure-iot-test-only.root.ca.cert.pem", str(bundle))
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert TRUST_BUNDLE in {one.id for one in configured_in(path).files}
    found = findings(find(Inputs(config=path)), Status.ERROR)
    assert set(found) == {"trust-bundle-root"}
    assert "another key" in found["trust-bundle-root"][0]
