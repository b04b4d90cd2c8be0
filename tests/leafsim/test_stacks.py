"""The TLS stacks: one question, one answer shape."""

import json
import subprocess

import pytest

from certs import Authority, FreshKeys, apply_defects
from leafsim import STACKS, StackMissing, Target
from leafsim.stacks.exact_match import certificate_names
from leafsim.stacks.openssl import OpensslStack, read_answer
from tests.leafsim.conftest import NAME

EVERY = ["python", "paho", "exact-match", pytest.param("openssl", marks=pytest.mark.interop)]
OURS = ["python", "paho", "exact-match"]
BAD = [("missing-intermediate", 20), ("expired-server", 10), ("san-without-hostname", 62), ("device-ca-not-ca", 79)]


@pytest.fixture
def probe(root):
    """Let a stack try a responder."""

    def run(stack, responder, *, name=NAME, trust=root, timeout=10.0):
        if reason := STACKS[stack].available():
            pytest.skip(reason)
        return STACKS[stack].probe(Target("127.0.0.1", responder.port, name, trust), timeout)

    return run


def test_registry_names():
    """A stack is found under its own name; one of them is a model and says so."""
    assert {name: stack.name for name, stack in STACKS.items()} == {name: name for name in STACKS}
    assert [name for name, stack in STACKS.items() if stack.modelled] == ["exact-match"]
    assert {"python", "paho", "openssl", "exact-match"} <= set(STACKS)


@pytest.mark.parametrize("stack", EVERY)
def test_good_chain_is_accepted(probe, serve, stack):
    """Every stack accepts a good chain under its name, and says which version judged."""
    responder = serve()
    outcome = probe(stack, responder)
    assert (outcome.ok, outcome.code, outcome.stack) == (True, None, stack)
    assert "OpenSSL" in outcome.version
    assert responder.server_names == [NAME]
    assert responder.packets == []  # a handshake, and nothing more


@pytest.mark.parametrize("stack", EVERY)
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[0])
def test_bad_chain_is_refused_with_its_code(probe, serve, chain, stack, bad):
    """Every stack refuses a bad chain with OpenSSL's code for it."""
    defect, code = bad
    outcome = probe(stack, serve(apply_defects(chain, [defect])))
    assert (outcome.ok, outcome.code) == (False, code)
    assert outcome.message


@pytest.mark.parametrize("stack", EVERY)
def test_empty_store_refuses(probe, serve, stack):
    """A leaf that trusts nothing is refused nothing by accident: verification is never off."""
    assert probe(stack, serve(), trust=None).code == 19


@pytest.mark.parametrize("stack", EVERY)
def test_loop_without_key_identifiers(probe, serve, pem, stack):
    """The CN loop below the device CA fails on every OpenSSL with 18."""
    loop = Authority(
        hostname=NAME, generation="1.2", device_ca_cn=NAME, allow_cn_loop=True, key="ec", keys=FreshKeys()
    ).chain()
    assert probe(stack, serve(loop), trust=pem(loop.trust_pem)).code == 18


@pytest.mark.parametrize("stack", ["python", "paho", pytest.param("openssl", marks=pytest.mark.interop)])
def test_upper_case_is_accepted_by_real_stacks(probe, serve, stack):
    """No real stack minds the case of the name."""
    assert probe(stack, serve(), name=NAME.upper()).ok


def test_upper_case_is_refused_by_the_model(probe, serve):
    """The modelled strict verifier does, with a word of its own instead of a verify code, and is labelled."""
    outcome = probe("exact-match", serve(), name=NAME.upper())
    assert (outcome.ok, outcome.code, outcome.modelled, outcome.depth) == (False, "name-case", True, 0)
    assert NAME in outcome.message
    assert "modelled" in str(outcome)
    assert outcome.as_json()["modelled"] is True


def test_model_refuses_a_wrong_name_for_real(probe, serve):
    """Another name is refused by the real handshake below the model."""
    assert probe("exact-match", serve(), name="other.test").code == 62


@pytest.mark.parametrize("stack", EVERY)
def test_connect_by_address(probe, serve, stack):
    """An address that the certificate has is verified as address, without SNI; another address is not accepted."""
    responder = serve()
    assert probe(stack, responder, name="127.0.0.1").ok
    assert probe(stack, responder, name="127.0.0.9").code == 64
    assert responder.server_names[0] is None


@pytest.mark.parametrize("stack", EVERY)
def test_silence_ends_with_the_deadline(probe, serve, stack):
    """A server that says nothing does not keep a stack."""
    assert probe(stack, serve(manner="silent"), timeout=0.3).code == "timeout"


@pytest.mark.parametrize("stack", EVERY)
def test_nobody_listens(probe, serve, stack):
    """A closed port is told as that."""
    responder = serve()
    responder.close()
    assert (probe(stack, responder).ok, probe(stack, responder).code) == (False, "refused")


@pytest.mark.parametrize("stack", EVERY)
def test_no_tls_at_all(probe, serve, stack):
    """What does not speak TLS is refused without a verify code."""
    outcome = probe(stack, serve(manner="plain"))
    assert (outcome.ok, outcome.code) == (False, None)
    assert outcome.message


@pytest.mark.parametrize("stack", OURS)
def test_closed_in_the_handshake(probe, serve, stack):
    """A closed connection is told as end of file."""
    assert probe(stack, serve(manner="slam")).code == "eof"


@pytest.mark.parametrize("stack", OURS)
def test_unusable_trust_file(probe, serve, tmp_path, stack):
    """A missing trust file is an answer too, since a probe never raises for what it is given."""
    outcome = probe(stack, serve(), trust=tmp_path / "missing.pem")
    assert not outcome.ok
    assert "cannot be read" in outcome.message


def test_outcome_as_json(probe, serve):
    """An outcome is plain data."""
    found = json.loads(json.dumps(probe("python", serve(), trust=None).as_json()))
    assert found.pop("duration_s") > 0
    assert found.pop("version").startswith("OpenSSL")
    message = "self-signed certificate in certificate chain"
    assert found == {"stack": "python", "ok": False, "code": 19, "message": message, "depth": None, "modelled": False}


def test_missing_program_is_a_reason(monkeypatch, tmp_path):
    """Without `openssl` on PATH the stack says so instead of failing somehow."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert OpensslStack().available() == "no `openssl` on PATH"
    with pytest.raises(StackMissing) as caught:
        OpensslStack().probe(Target("127.0.0.1", 1, NAME))
    assert (caught.value.stack, caught.value.exit_code) == ("openssl", 3)


def test_program_that_does_not_run_is_a_reason(monkeypatch, tmp_path):
    """A broken `openssl` on PATH is not available either."""
    broken = tmp_path / "openssl"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert OpensslStack().available() == "`openssl version` does not answer"


@pytest.mark.interop
def test_openssl_tells_the_depth(probe, serve, chain):
    """Of all stacks, s_client tells which certificate it stumbled over."""
    assert probe("openssl", serve(apply_defects(chain, ["expired-device-ca"]))).depth == 2


@pytest.mark.interop
def test_openssl_agrees_with_its_own_verify(serve, chain, probe, pem):
    """The code parsed from s_client is the one `openssl verify` gives for the same files."""
    served = apply_defects(chain, ["expired-server"])
    files = [
        "-CAfile",
        pem(served.trust_pem, "t"),
        "-untrusted",
        pem(served.sent_pem, "u"),
        pem(served.server.pem, "s"),
    ]
    verify = subprocess.run(["openssl", "verify", *files], capture_output=True, text=True, check=False)
    code = probe("openssl", serve(served)).code
    assert f"error {code} at 0 depth lookup" in verify.stderr


S_CLIENT = """depth=1 CN = gw.factory.test.ca
verify error:num=20:unable to get local issuer certificate
CONNECTED(00000003)
"""


@pytest.mark.parametrize(
    ("output", "exit_code", "expected"),
    [
        (S_CLIENT, 1, (False, 20, "unable to get local issuer certificate", 1)),
        ("CONNECTED(00000003)\nVerify return code: 0 (ok)\n", 0, (True, None, "", None)),
        ("CONNECTED(00000003)\nVerify return code: 0 (ok)\n", 1, (False, None, "openssl ended with 1", None)),
        (
            "40:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:rec.c:1:SSL alert number 70",
            1,
            (False, "protocol_version", "the gateway sent alert protocol_version", None),
        ),
        ("connect:errno=113\n", 1, (False, "network", "cannot connect (errno 113)", None)),
        ("", 1, (False, None, "openssl ended with 1", None)),
    ],
)
def test_what_s_client_prints_is_read(output, exit_code, expected):
    """Verify errors, alerts, connect errors and success are told apart."""
    found = read_answer(output, exit_code)
    assert (found.ok, found.code, found.message, found.depth) == expected


def test_names_of_a_certificate_without_san():
    """The common name counts when there is no DNS name in the certificate, and only then."""
    subject = ((("organizationName", "o"),), (("commonName", "gw"),))
    assert certificate_names({"subject": subject}) == ["gw"]
    assert certificate_names({"subject": subject, "subjectAltName": (("DNS", "a"), ("IP Address", "::1"))}) == ["a"]
