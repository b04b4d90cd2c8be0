"""Leaf identities that a gateway's own authorities sign: who accepts them, and with what in between."""

import json
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from cryptography import x509

from certs import Authority, CachedKeys, CertsError, Role, apply_defects, layout
from certs.certgen import WorkingFolder
from certs.files import read_certificates, read_own_key
from certs.issuers import of_state, of_working_folder
from certs.keys import key_pem
from certs.names import common_name
from certs.profiles import TABLE
from certs.x509io import to_pem
from tests.scenarios.command import inside

CREATE = "create_device_certificate"


def working(folder, **options):
    """A working folder with quick keys."""
    options.setdefault("environment", {})
    return WorkingFolder(folder, keys=CachedKeys(), **options)


@pytest.fixture
def scripts(tmp_path):
    """A folder with root, intermediate and the device CA of one gateway."""
    made = working(tmp_path)
    made.create_root_and_intermediate(algorithm="ec")
    made.create("create_edge_device_ca_certificate", "gw1")
    return made


@pytest.fixture(scope="module")
def server_chain():
    """What the verifying server shows; nobody judges it here."""
    return Authority(hostname="localhost", seed=3).chain()


def shown_to_server(server_chain, root, sent, key, tmp_path):
    """Let a device show these certificates to a TLS server that trusts only `root`; the server's verify code, None=ok.

    TLS 1.2, so that the server's refusal reaches the client inside the handshake.
    """
    served, own = tmp_path / "served.pem", tmp_path / "own.pem"
    served.write_bytes(server_chain.sent_pem + server_chain.key_pem)
    own.write_bytes(to_pem(sent) + key_pem(key))
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(served)
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.load_verify_locations(cadata=to_pem([root]).decode())
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    client_context.load_verify_locations(cadata=server_chain.trust_pem.decode())
    client_context.load_cert_chain(own)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        _step(client)
        try:
            if _step(server):
                presented = x509.load_der_x509_certificate(server.getpeercert(binary_form=True))
                assert presented == sent[0]
                return None
        except ssl.SSLCertVerificationError as refused:
            return refused.verify_code
    raise AssertionError("the handshake does not end")


def _step(side):
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def full_chain(written):
    """The full-chain file among the written ones, and the key."""
    chain = next(path for path in written if path.name.endswith("-full-chain.cert.pem"))
    key = next(path for path in written if path.name.endswith(".key.pem"))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    return read_certificates(chain), read_own_key(key)


def test_identity_below_a_device_ca_is_accepted_by_a_server_with_only_the_root(scripts, server_chain, tmp_path):
    """OpenSSL as a server that requires client certificates takes the full-chain file."""
    written = scripts.create(CREATE, "press-7", issuer=of_working_folder(scripts.folder))
    sent, key = full_chain(written)
    assert [common_name(one.subject) for one in sent] == [
        "press-7",
        "gw1.ca",
        "Azure_IoT_Hub_Intermediate_Cert_Test_Only",
        "Azure_IoT_Hub_CA_Cert_Test_Only",
    ]
    assert shown_to_server(server_chain, sent[-1], sent, key, tmp_path) is None
    assert shown_to_server(server_chain, sent[-1], sent[:-1], key, tmp_path) is None, "the root need not be sent"


@pytest.mark.parametrize("left_out", [1, 2])
def test_identity_is_refused_when_an_authority_in_between_is_left_out(scripts, server_chain, tmp_path, left_out):
    """The twin: without the device CA or without the intermediate the root is not reached (20)."""
    sent, key = full_chain(scripts.create(CREATE, "press-7", issuer=of_working_folder(scripts.folder)))
    gap = [one for at, one in enumerate(sent) if at != left_out]
    assert shown_to_server(server_chain, sent[-1], gap, key, tmp_path) == 20
    assert shown_to_server(server_chain, sent[-1], sent[:1], key, tmp_path) == 20


def test_identity_below_a_device_ca_is_refused_by_a_server_with_another_root(scripts, server_chain, tmp_path):
    """The chain ends at a self-signed certificate that the server does not trust (19)."""
    sent, key = full_chain(scripts.create(CREATE, "press-7", issuer=of_working_folder(scripts.folder)))
    other = Authority(hostname="localhost", seed=4).chain().root.certificate
    assert shown_to_server(server_chain, other, sent, key, tmp_path) == 19


def test_path_length_of_zero_is_enough_for_an_identity(server_chain, tmp_path):
    """A device CA that allows no authority below itself may sign a leaf: a leaf is none (RFC 5280, 4.2.1.9)."""
    authority = Authority(hostname="gw.test", seed=1, generation="1.5", key="ec")
    limit = x509.BasicConstraints(ca=True, path_length=0)
    chain = authority.chain().reissue(Role.DEVICE_CA, lambda old: old.with_extension(limit, critical=True))
    layout.save(chain, tmp_path / "state")
    written = working(tmp_path / "leaves").create(
        CREATE, "press-7", issuer=of_state(tmp_path / "state", Role.DEVICE_CA)
    )
    sent, key = full_chain(written)
    assert shown_to_server(server_chain, chain.root.certificate, sent, key, tmp_path) is None


def test_path_length_of_zero_above_the_issuer_is_too_little(server_chain, tmp_path):
    """The twin: one level higher it forbids the device CA's workload CA, and with it what that signed (25)."""
    authority = Authority(hostname="gw.test", seed=1)
    chain = apply_defects(authority.chain(), ["path-length-too-small"])
    layout.save(chain, tmp_path / "state")
    codes = {}
    for role in (Role.DEVICE_CA, Role.WORKLOAD_CA):
        written = working(tmp_path / role).create(CREATE, "press-7", issuer=of_state(tmp_path / "state", role))
        sent, key = full_chain(written)
        codes[role] = shown_to_server(server_chain, chain.root.certificate, sent, key, tmp_path)
    assert codes == {Role.DEVICE_CA: None, Role.WORKLOAD_CA: 25}


@pytest.mark.parametrize("generation", [name for name, row in TABLE.items() if row.device_ca and row.root])
def test_device_ca_of_every_generation_signs_identities(generation, server_chain, tmp_path):
    """From a state folder, for each generation with a device CA below a root; keys are of the issuer's kind."""
    chain = Authority(hostname="gw.test", seed=1, generation=generation, key="ec").chain()
    layout.save(chain, tmp_path / "state")
    issuer = of_state(tmp_path / "state", Role.DEVICE_CA)
    sent, key = full_chain(working(tmp_path / "leaves").create(CREATE, "press-7", issuer=issuer))
    assert type(key) is type(chain.server.key)
    assert shown_to_server(server_chain, chain.root.certificate, sent, key, tmp_path) is None


def test_authority_issues_identities_below_the_device_ca():
    """The same in memory: cryptography agrees on every signature; without `signed_by` the intermediate signs."""
    authority = Authority(hostname="gw.test", seed=1)
    chain = authority.chain()
    leaf = authority.device("press-7", signed_by=Role.DEVICE_CA)
    above = [level.certificate for level in chain.levels[2:]]
    assert leaf.certificate.issuer == chain.level(Role.DEVICE_CA).certificate.subject
    leaf.certificate.verify_directly_issued_by(above[0])
    for lower, upper in pairwise(above):
        lower.verify_directly_issued_by(upper)
    assert authority.device("press-7").certificate.issuer == chain.level(Role.INTERMEDIATE).certificate.subject


def test_issuer_that_may_not_sign_is_refused(tmp_path):
    """A device CA without CA:TRUE could sign, but nobody would accept it."""
    layout.save(apply_defects(Authority(hostname="gw.test", seed=1).chain(), ["device-ca-not-ca"]), tmp_path)
    with pytest.raises(CertsError, match="signs certificates but is no CA"):
        of_state(tmp_path, Role.DEVICE_CA)


def test_expired_issuer_is_refused(scripts):
    """What it signs now would be born invalid."""
    late = working(scripts.folder, now=datetime.now(UTC) + timedelta(days=31))
    with pytest.raises(CertsError, match=r'"gw1.ca" expired on'):
        late.create(CREATE, "press-7", issuer=of_working_folder(scripts.folder))


def test_identity_never_outlives_its_issuer(scripts):
    """Thirty days, or what is left of the device CA."""
    later = working(scripts.folder, now=datetime.now(UTC) + timedelta(days=20))
    issuer = of_working_folder(scripts.folder)
    sent, _ = full_chain(later.create(CREATE, "press-7", issuer=issuer))
    assert sent[0].not_valid_after_utc == issuer.level.certificate.not_valid_after_utc


def test_one_of_several_device_cas_is_chosen_by_its_gateway(scripts):
    """Without a name the choice is the user's; identities and servers of the folder are no device CAs."""
    scripts.create("create_edge_device_identity_certificate", "gw1")
    assert of_working_folder(scripts.folder).level.common_name == "gw1.ca"
    scripts.create("create_edge_device_ca_certificate", "gw2")
    with pytest.raises(CertsError, match=r"several device CAs: gw1, gw2") as refused:
        of_working_folder(scripts.folder)
    assert "--issuer device-ca:NAME" in refused.value.hint
    assert of_working_folder(scripts.folder, "gw2").level.common_name == "gw2.ca"
    with pytest.raises(CertsError, match="no device CA of 'gw3' yet"):
        of_working_folder(scripts.folder, "gw3")


def test_folder_without_a_device_ca_is_told(tmp_path):
    """The way out is the command that makes one."""
    with pytest.raises(CertsError, match="has no device CA yet"):
        of_working_folder(tmp_path)


def test_command_makes_an_identity_below_the_device_ca(scripts, capsys):
    """`create_device_certificate --issuer device-ca`: the files are told, one a line."""
    done = inside(capsys, "certs", CREATE, "press-7", "--dir", scripts.folder, "--issuer", "device-ca:gw1")
    assert done.returncode == 0, done.stderr
    chain = scripts.folder / "certs" / "iot-device-press-7-full-chain.cert.pem"
    assert str(chain) in done.stdout.splitlines()
    assert common_name(read_certificates(chain)[0].issuer) == "gw1.ca"


def test_command_makes_an_identity_of_a_state_folder(tmp_path, capsys):
    """Its files go into the state folder's `devices`; a second one has the next serial number."""
    layout.save(Authority(hostname="gw.test", seed=1).chain(), tmp_path)
    serials = []
    for name in ("press-7", "press-8"):
        done = inside(capsys, "certs", CREATE, name, "--state", tmp_path, "--issuer", "device-ca")
        assert done.returncode == 0, done.stderr
        made = tmp_path / "devices" / "certs" / f"iot-device-{name}.cert.pem"
        serials.append(read_certificates(made)[0].serial_number)
    assert serials[1] == serials[0] + 1
    assert layout.load(tmp_path).hostname == "gw.test"
    assert json.loads((tmp_path / "chain" / "chain.json").read_text())["hostname"] == "gw.test"


@pytest.mark.parametrize("arguments", [("--issuer", "root"), ("--issuer", "device-ca:"), ("--issuer", "workload-ca")])
def test_command_with_an_unknown_issuer_exits_2(scripts, capsys, arguments):
    """What a folder can offer is told."""
    done = inside(capsys, "certs", CREATE, "press-7", "--dir", scripts.folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: a folder has intermediate and device-ca" in done.stderr


@pytest.mark.interop
def test_openssl_verifies_an_identity_below_a_device_ca(scripts):
    """`openssl verify` with only the root trusted accepts the full chain as untrusted, and nothing less."""
    certs = scripts.folder / "certs"
    scripts.create(CREATE, "press-7", issuer=of_working_folder(scripts.folder))
    root, chain = certs / "azure-iot-test-only.root.ca.cert.pem", certs / "iot-edge-device-ca-gw1-full-chain.cert.pem"
    leaf = certs / "iot-device-press-7.cert.pem"
    for untrusted, code in ((chain, 0), (certs / "iot-edge-device-ca-gw1.cert.pem", 2)):
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient"]
        command += ["-CAfile", str(root), "-untrusted", str(untrusted), str(leaf)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
