"""The command line of certs."""

import json
import socket
import ssl
import threading

import pytest
from typer.testing import CliRunner

from certs import Authority, CertsError, Role, apply_defects, layout
from certs.cli import app
from certs.files import read_certificates

ALIASES = {
    "New-CACertsEdgeDeviceCA": "iot-edge-device-ca-gw1",
    "New-CACertsEdgeDevice": "iot-edge-device-gw1",
    "New-CACertsEdgeDeviceIdentity": "iot-edge-device-identity-gw1",
    "New-CACertsEdgeServer": "iot-edge-server-gw1",
    "New-CACertsDevice": "iot-device-gw1",
    "New-CACertsVerificationCert": "iot-device-verification-code",
}


def run(*arguments, code=0):
    """Run a command; its output, errors raised as they reach the front door."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def folder(tmp_path):
    """A folder with an EC root and intermediate."""
    run("create_root_and_intermediate", "--key", "ec", "--dir", tmp_path)
    return tmp_path


def test_create_root_prints_the_files_and_warns(tmp_path):
    """Paths go to stdout, one a line; progress and the warning to stderr."""
    result = run("create_root_and_intermediate", "--key", "ec", "--dir", tmp_path)
    assert all((tmp_path / line).is_file() for line in result.stdout.splitlines())
    assert len(result.stdout.splitlines()) == 7
    assert "making the root CA's ec key" in result.stderr
    assert "tests only" in result.stderr


def test_device_ca_command_appends_ca(folder):
    """The article's command makes a device CA whose name cannot be the gateway's host name."""
    run("create_edge_device_ca_certificate", "mygateway", "--dir", folder)
    found = read_certificates(folder / "certs" / "iot-edge-device-ca-mygateway.cert.pem")[0]
    assert found.subject.rfc4514_string() == "CN=mygateway.ca"


@pytest.mark.parametrize(("alias", "prefix"), ALIASES.items())
def test_powershell_name_is_the_same_command(alias, prefix, folder):
    """Each function of ca-certs.ps1 works under its own name and writes the same files."""
    run(alias, "gw1", "--dir", folder)
    assert (folder / "certs" / f"{prefix}-full-chain.cert.pem").is_file()


def test_powershell_chain_says_what_ecc_is(tmp_path):
    """ecc is a curve that TLS stacks refuse, which is told; the files are made all the same."""
    result = run("New-CACertsCertChain", "ecc", "--dir", tmp_path)
    assert "secp256k1" in result.stderr
    assert (tmp_path / "algorithmUsed.txt").read_text() == "ecc"


def test_own_root_is_installed_under_both_names(folder, tmp_path):
    """Both scripts' commands take a root from files."""
    for number, command in enumerate(("install_root_ca_from_files", "Install-RootCACertificate")):
        target = tmp_path / f"second-{number}"
        root = "azure-iot-test-only.root.ca"
        run(command, folder / "certs" / f"{root}.cert.pem", folder / "private" / f"{root}.key.pem", "--dir", target)
        assert (target / "certs" / f"{root}.cert.pem").read_bytes() == (
            folder / "certs" / f"{root}.cert.pem"
        ).read_bytes()


def test_show_draws_a_file(folder):
    """A sound file is drawn as a tree, exit code 0."""
    run("create_edge_device_ca_certificate", "gw1", "--dir", folder)
    lines = run("show", folder / "certs" / "iot-edge-device-ca-gw1-full-chain.cert.pem").stdout.splitlines()
    assert [line.strip().partition(":")[0] for line in lines] == ["root", "└─ intermediate", "└─ device-ca"]


def test_show_explains_what_is_wrong(tmp_path):
    """What a leaf would refuse is told with evidence and fix, exit code 1."""
    broken = apply_defects(Authority(hostname="gw.test").chain(), ["missing-intermediate"])
    pem, trust = tmp_path / "sent.pem", tmp_path / "root.pem"
    pem.write_bytes(broken.sent_pem)
    trust.write_bytes(broken.trust_pem)
    said = run("show", pem, "--trust", trust, "--name", "gw.test", code=1).stdout
    assert "missing: Azure IoT Hub Intermediate Cert Test Only" in said
    assert "error C1" in said
    assert "fix:" in said


def test_show_asks_a_port(tmp_path):
    """HOST:PORT shows what is really served there, under the name that is asked for."""
    chain = Authority(hostname="gw.test").chain()
    pem, trust = tmp_path / "served.pem", tmp_path / "root.pem"
    pem.write_bytes(chain.sent_pem + chain.key_pem)
    trust.write_bytes(chain.trust_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve():
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
                secured.do_handshake()

        thread = threading.Thread(target=serve)
        thread.start()
        said = run("show", f"127.0.0.1:{listener.getsockname()[1]}", "--name", "gw.test", "--trust", trust).stdout
        thread.join(10)
    assert len(said.splitlines()) == 5
    assert "server: gw.test" in said


def test_transfer_hands_the_state_over(tmp_path):
    """The device CA is kept, what is below it made again, the earlier chain moved aside."""
    before = Authority(hostname="gw.test").chain()
    layout.save(before, tmp_path)
    result = run("transfer", "--state", tmp_path, "--hostname", "plant2.test")
    after = layout.load(tmp_path)
    assert after.hostname == "plant2.test"
    assert after.level(Role.DEVICE_CA).pem == before.level(Role.DEVICE_CA).pem
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["made", "made", "kept", "kept", "kept"]
    assert "chain.old-1" in result.stderr
    assert (tmp_path / "chain.old-1" / "sent.pem").read_bytes() == before.sent_pem


def test_defects_lists_the_catalogue():
    """Each defect with what OpenSSL answers."""
    lines = [line.strip() for line in run("defects").stdout.splitlines()]
    assert any(line.startswith("missing-intermediate") and "refused, 20" in line for line in lines)
    assert any(line.startswith("wrong-order") and "accepted" in line for line in lines)
    assert {"what is sent", "time", "names", "what is trusted"} <= set(lines)
    listed = {entry["name"]: entry for entry in json.loads(run("defects", "--json").stdout)}
    assert listed["missing-intermediate"]["verify_code"] == 20


def test_measured_lists_the_chains_and_who_refused_them():
    """One line a chain, with how many of the stacks refused it; as JSON with their words and the defects it takes."""
    lines = run("measured").stdout.splitlines()
    assert any(line.split()[:2] == ["miss-inter", "26/26"] for line in lines)
    assert any(line.split()[:2] == ["ok-5level", "0/26"] for line in lines)
    row = json.loads(run("measured", "--json").stdout)["miss-inter"]
    assert row["defects"] == ["missing-intermediate", "root-not-sent"]
    assert "unable to get local issuer" in row["refused"]["python-ssl"]["message"]


@pytest.mark.parametrize("arguments", [["--help"], ["show", "--help"], ["create_edge_device_ca_certificate", "--help"]])
def test_help_has_an_example(arguments):
    """Each help page shows a command to copy."""
    assert "leafgate certs " in run(*arguments).stdout


def test_help_says_the_powershell_names_without_listing_them():
    """The other script's names are told at the end, and keep out of the list of commands."""
    commands, names = run("--help").stdout.split("ca-certs.ps1's names work too")
    assert "New-CACertsEdgeDeviceCA" in names
    assert "New-CACerts" not in commands


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "missing.pem"],
        ["show", "gw:mqtt"],
        ["create_device_certificate", "gw1", "--dir", "missing"],
        ["transfer", "--state", "missing"],
        ["create_root_and_intermediate", "--key", "dsa", "--dir", "x"],
    ],
)
def test_mistake_is_an_error_for_people(arguments, tmp_path, monkeypatch):
    """A user's mistake reaches the front door as message, hint and exit code 2."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CertsError) as refused:
        run(*arguments)
    assert refused.value.exit_code == 2
    assert refused.value.hint
    assert list(tmp_path.iterdir()) == []
