"""Real handshakes: each success has its twin that fails for exactly one reason."""

import ssl
import subprocess
import sys

import pytest

from certs import Authority, FreshKeys, Role, apply_defects
from leafsim import ClientCertificate, ConnectionString, TlsRefused, TrustError, Unreachable
from tests.leafsim.conftest import NAME
from tests.leafsim.responder import CONNECT


def refusal(device) -> TlsRefused:
    """Connect, expecting the handshake to fail."""
    with pytest.raises(TlsRefused) as caught:
        device.connect()
    return caught.value


def test_connect_with_the_right_root(serve, leaf):
    """A leaf that trusts the root and knows the name is connected; SNI is the name."""
    responder = serve()
    device = leaf(responder)
    device.connect()
    assert device.connected
    assert device.tls_version == "TLSv1.3"
    assert responder.server_names == [NAME]


def test_connect_with_upper_case_name(serve, leaf):
    """Upper case in GatewayHostName is no TLS failure; SNI keeps the case, as Python sends it."""
    responder = serve()
    leaf(responder, name=NAME.upper()).connect()
    assert responder.server_names == [NAME.upper()]


def test_connect_by_address_with_ip_san(serve, leaf):
    """An IP address that the certificate has is a good name; it is never sent as SNI."""
    responder = serve()
    leaf(responder, name="127.0.0.1").connect()
    assert responder.server_names == [None]


@pytest.mark.parametrize(
    ("name", "code"),
    [("other.factory.test", 62), ("factory.test", 62), (NAME + ".", 62), ("127.0.0.2", 64)],
)
def test_connect_under_a_name_that_the_certificate_lacks(serve, leaf, name, code):
    """Another name is a host name mismatch, another address an IP address mismatch; TCP goes where it was routed."""
    responder = serve()
    error = refusal(leaf(responder, name=name))
    assert (error.verify_code, error.by, error.alert) == (code, "leaf", None)
    assert responder.wait_alert() == "bad_certificate"


def test_empty_store_with_root_sent(serve, leaf):
    """A leaf that trusts nothing refuses a chain with its root as self-signed in chain; nothing turns that off."""
    responder = serve()
    error = refusal(leaf(responder, trust=None))
    assert (error.verify_code, error.verify_message) == (19, "self-signed certificate in certificate chain")
    assert responder.wait_alert() == "unknown_ca"


def test_empty_store_without_root_sent(serve, leaf, chain):
    """Without the root on the wire the same leaf finds no issuer."""
    error = refusal(leaf(serve(apply_defects(chain, ["root-not-sent"])), trust=None))
    assert (error.verify_code, error.verify_message) == (20, "unable to get local issuer certificate")


def test_another_root(serve, leaf, pem):
    """A root of another hierarchy does not help."""
    other = Authority(hostname=NAME, root_cn="Some Other Root", keys=FreshKeys()).chain()
    assert refusal(leaf(serve(), trust=pem(other.trust_pem))).verify_code == 19


def test_root_of_the_same_name_with_another_key(serve, leaf, chain):
    """A re-created root of the same name is not the same root."""
    error = refusal(leaf(serve(apply_defects(chain, ["same-named-root"]))))
    assert (error.verify_code, error.by) == (19, "leaf")


def test_intermediate_as_the_only_trusted_certificate(serve, leaf, pem, chain):
    """Trusting the device CA alone is not enough for OpenSSL: no partial chains, as in the SDKs."""
    device_ca = chain.level(Role.DEVICE_CA).pem
    assert refusal(leaf(serve(), trust=pem(device_ca))).verify_code == 2


@pytest.mark.parametrize(
    ("defect", "expected"),
    [
        ("expired-server", (10, "certificate has expired")),
        ("not-yet-valid-server", (9, "certificate is not yet valid")),
        ("missing-intermediate", (20, "unable to get local issuer certificate")),
        ("device-ca-not-ca", (79, "invalid CA certificate")),
        ("path-length-too-small", (25, "path length constraint exceeded")),
        ("server-client-auth-only", (26, "unsuitable certificate purpose")),
        ("san-without-hostname", (62, f"Hostname mismatch, certificate is not valid for '{NAME}'.")),
    ],
)
def test_defect_of_the_chain(serve, leaf, chain, defect, expected):
    """Each defect is refused with OpenSSL's own code and words, and comes with a hint."""
    error = refusal(leaf(serve(apply_defects(chain, [defect]))))
    assert (error.verify_code, error.verify_message) == expected
    assert error.hint


@pytest.mark.parametrize(("generation", "code"), [("1.2", 18), ("1.3", None)])
def test_device_ca_named_like_the_gateway(serve, leaf, pem, generation, code):
    """Without key identifiers the server certificate passes for its own issuer (18); with them the leaf connects."""
    authority = Authority(
        hostname=NAME, generation=generation, device_ca_cn=NAME, allow_cn_loop=True, key="ec", keys=FreshKeys()
    )
    device = leaf(serve(authority.chain()), trust=pem(authority.chain().trust_pem))
    if code is None:
        device.connect()
        return
    error = refusal(device)
    assert (error.verify_code, error.verify_message) == (18, "self-signed certificate")


def test_gateway_closes_in_the_handshake(serve, leaf):
    """A closed connection is told apart from an alert: nobody said why."""
    error = refusal(leaf(serve(manner="slam")))
    assert (error.eof, error.alert, error.verify_code, error.by) == (True, None, None, "gateway")


def test_gateway_does_not_speak_tls(serve, leaf):
    """Plain bytes where TLS is expected are said to be that."""
    error = refusal(leaf(serve(manner="plain")))
    assert "does not speak TLS" in error.detail
    assert (error.eof, error.alert) == (False, None)


def test_gateway_says_nothing(serve, leaf):
    """Silence ends with the deadline, and counts as not reached."""
    with pytest.raises(Unreachable) as caught:
        leaf(serve(manner="silent")).connect(timeout=0.2)
    assert (caught.value.cause, caught.value.phase, caught.value.exit_code) == ("timeout", "tls", 3)


def _tls_1_2(context):
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _want_certificate(root, required=True, version=None):
    def adjust(context):
        context.load_verify_locations(root)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        if version:
            version(context)

    return adjust


def test_gateway_with_tls_1_2(serve, leaf):
    """A gateway that knows TLS 1.2 only is fine."""
    device = leaf(serve(adjust=_tls_1_2))
    device.connect()
    assert device.tls_version == "TLSv1.2"


@pytest.mark.parametrize(
    ("version", "alert"), [(None, "certificate_required"), (_tls_1_2, "handshake_failure")], ids=["1.3", "1.2"]
)
def test_gateway_requires_a_client_certificate(serve, leaf, root, version, alert):
    """The alert that the gateway sends is named, in the handshake (1.2) as well as after it (1.3)."""
    error = refusal(leaf(serve(adjust=_want_certificate(root, version=version))))
    assert (error.alert, error.by, error.verify_code) == (alert, "gateway", None)


def test_client_certificate_is_shown(serve, leaf, root, authority, pem):
    """A device with x509=true shows its certificate and sends no password (CONNECT flags 0x80)."""
    level = authority.device("press-7")
    files = ClientCertificate(
        pem(level.pem + authority.chain().level(Role.INTERMEDIATE).pem, "c"), pem(level.key_pem, "k")
    )
    responder = serve(adjust=_want_certificate(root))
    connection = ConnectionString.parse(f"HostName=h.test;DeviceId=press-7;x509=true;GatewayHostName={NAME}")
    leaf(responder, connection=connection, client_certificate=files).connect()
    assert responder.client_certificates[0]["subject"] == ((("commonName", "press-7"),),)
    assert (responder.wait(CONNECT)[0].flags, responder.wait(CONNECT)[0].password) == (0x80, None)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_trust_file_without_a_certificate(serve, leaf, pem, content):
    """A trust file that holds no certificate is the user's mistake and is told before anything is sent."""
    responder, path = serve(), pem(content, "wrong.pem")
    with pytest.raises(TrustError, match="no certificate") as caught:
        leaf(responder, trust=path).connect()
    assert (caught.value.exit_code, caught.value.path) == (2, str(path))
    assert responder.server_names == []


def test_trust_file_that_is_missing(serve, leaf, tmp_path):
    """So is a trust file that is not there."""
    with pytest.raises(TrustError, match="cannot be read"):
        leaf(serve(), trust=tmp_path / "missing.pem").connect()


def test_client_key_of_another_certificate(serve, leaf, authority, pem):
    """A private key that does not belong to the certificate is told before anything is sent."""
    mine, other = authority.device("press-7"), authority.device("press-8")
    with pytest.raises(TrustError, match="no usable client certificate"):
        leaf(serve(), client_certificate=ClientCertificate(pem(mine.pem, "c"), pem(other.key_pem, "k"))).connect()


def test_trust_file_with_comments_beyond_ascii(serve, leaf, pem, chain):
    """Text around the certificate does no harm."""
    leaf(serve(), trust=pem("Wurzel für Halle 3\r\n".encode() + chain.trust_pem.replace(b"\n", b"\r\n"))).connect()


@pytest.mark.parametrize("sent", [True, False])
def test_failed_handshake_leaves_no_socket(serve, chain, root, pem, sent):
    """A refusal leaves nothing for the garbage collector to complain about."""
    served = serve(chain)
    trust = root if sent else pem(b"", "empty.pem")
    program = (
        "import gc, sys, warnings; warnings.simplefilter('error'); from leafsim import Device, LeafError\n"
        f"d = Device('HostName=h;DeviceId=d;SharedAccessKey=AAAA;GatewayHostName=wrong.test', trust={str(trust)!r},"
        f" port={served.port}, connect_to={{('wrong.test', {served.port}): ('127.0.0.1', {served.port})}})\n"
        "try: d.connect()\nexcept LeafError as error: print(type(error).__name__)\n"
        "del d; gc.collect()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == ("TlsRefused" if sent else "TrustError")
