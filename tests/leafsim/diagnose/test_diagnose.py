"""`leafgate diagnose` against real servers: what is found, in which order, and what counts."""

import json
import ssl
import time

import pytest
from cryptography.hazmat.primitives import serialization

from certs import Authority, CachedKeys, CertsError, FreshKeys, apply_defects
from certs.outcomes import outcomes
from leafsim import LeafError, sas_token
from leafsim.diagnose import Report, diagnose, diagnose_files, reach
from leafsim.diagnose.examine import examine
from leafsim.diagnose.text import lines
from leafsim.stacks import STACKS
from leafsim.stacks.base import Verdict
from tests.leafsim.conftest import KEY, NAME, STRING
from tests.leafsim.responder import CONNECT


def look(responder, root, **options):
    """A report about a responder."""
    options.setdefault("name", NAME)
    options.setdefault("timeout", 5)
    return diagnose(f"127.0.0.1:{responder.port}", trust=root, **options)


def rules(report):
    """The rules in the order of the report."""
    return [finding.rule for finding in report.findings]


def test_healthy_gateway_has_no_headline(serve, root):
    """Python connects for real, and so would every measured stack."""
    report = look(serve(), root)
    assert (report.verdict, report.headline, report.findings) == ("ok", None, [])
    assert report.stacks["python-ssl"].source == "live"
    assert all(one.ok for one in report.stacks.values())
    assert [one.role for one in report.chain] == ["server", "workload-ca", "device-ca", "intermediate", "root"]


def test_missing_intermediate_is_the_headline_and_the_handshake_agrees(serve, root, chain):
    """The cause, the certificate it is seen at, the fix, and who is affected."""
    report = look(serve(apply_defects(chain, ["missing-intermediate"])), root)
    assert (report.verdict, report.headline.rule) == ("fail", "C1")
    assert report.findings[0].certificate == 2
    assert len(report.findings[0].affects) == 26
    live = report.stacks["python-ssl"]
    assert (live.ok, live.message, live.source) == (False, "unable to get local issuer certificate", "live")
    assert report.stacks["node20-ossl3"].source == "predicted"


def test_chain_that_only_other_stacks_refuse_is_ok_with_a_warning(serve, root, chain):
    """The verdict is about leaves on OpenSSL 3; the headline names the others."""
    report = look(serve(apply_defects(chain, ["wrong-order"])), root)
    assert (report.verdict, report.headline.rule) == ("ok", "C2")
    assert set(report.findings[0].affects) == {"bearssl-0.6", "mbedtls-2.28", "python-mbedtls", "wolfssl-5.5"}


def test_gravest_finding_comes_first_and_the_rest_follows(serve, root, chain):
    """Several things can be wrong at once."""
    broken = apply_defects(chain, ["expired-server", "no-key-ids", "no-san"])
    report = look(serve(broken), root, name="10.1.2.3")
    assert rules(report)[:2] == ["N1", "E1"]
    assert "W4" in rules(report)


def test_without_trust_nothing_is_said_about_it(serve):
    """A chain that is sound in itself is ok for all one can know, and no leaf is asked."""
    report = look(serve(), None)
    assert (report.verdict, report.findings) == ("ok", [])
    assert {one.source for one in report.stacks.values()} == {"predicted"}


def test_further_stacks_are_asked_for_real(serve, root):
    """What they say stands beside the prediction of the others."""
    report = look(serve(), root, stacks=["paho"])
    assert report.stacks["paho"].source == "live"


# -- D ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manner", "cause"),
    [
        ("silent", "nothing answers"),
        ("slam", "it closes the connection without showing a certificate"),
        ("plain", "it does not speak TLS"),
    ],
)
def test_port_that_is_no_tls_port_is_unreachable(serve, root, manner, cause):
    """D1, within the deadline."""
    report = look(serve(manner=manner), root, timeout=1)
    assert (report.verdict, report.headline.rule, report.headline.cause) == ("unreachable", "D1", cause)
    assert (report.chain, report.stacks) == ([], {})


def test_port_where_nobody_listens_is_unreachable(serve, root):
    """D1 with what to start."""
    responder = serve()
    responder.close()
    report = look(responder, root)
    assert (report.verdict, report.headline.cause) == ("unreachable", "nothing listens there")


def test_name_that_does_not_resolve_is_unreachable():
    """D1 with the hosts file as way out."""
    report = diagnose("nowhere.invalid:8883")
    assert (report.verdict, report.headline.cause) == ("unreachable", "the gateway's name does not resolve")


def old_versions(context):
    """TLS 1.0 and 1.1 alone."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


def other_cipher(context):
    """A cipher for a kind of key that the server does not have."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")


def with_client_certificate(version):
    """A client certificate is required."""

    def adjust(context):
        context.minimum_version = context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED

    return adjust


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_gateway_with_old_tls_versions_only_is_told(serve, root):
    """D2 names the versions that it does speak; the chain is looked at all the same."""
    report = look(serve(adjust=old_versions), root)
    assert (report.verdict, report.headline.rule) == ("fail", "D2")
    assert report.headline.cause == "the gateway speaks TLS 1.0 and 1.1 only"
    assert len(report.chain) == 5


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("row", ["tls10-only", "tls12-only", "tls13-only"])
def test_affected_stacks_of_a_version_are_those_measured(serve, root, row):
    """Who does not speak the gateway's only TLS version is who was refused when that was measured."""
    low, high = (getattr(ssl.TLSVersion, outcomes()[row].server[end]) for end in ("min", "max"))

    def adjust(context):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = low, high

    report = look(serve(adjust=adjust), root)
    assert {key for key, one in report.stacks.items() if not one.ok} == set(outcomes()[row].refused)
    assert rules(report) == ([] if row == "tls12-only" else ["D2"])


def test_gateway_with_a_cipher_that_leaves_do_not_offer_is_told(serve, pem):
    """D3 where certificates are shown to who offers every cipher; stacks as measured, the live one among them."""
    rsa = Authority(hostname=NAME, key="rsa2048", keys=CachedKeys()).chain()

    def adjust(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(outcomes()["cipher-rsa-kx"].server["ciphers"])

    report = look(serve(rsa, adjust=adjust), pem(rsa.trust_pem))
    assert (report.verdict, rules(report)) == ("fail", ["D3"])
    assert "AES128-SHA" in report.findings[0].evidence
    assert {key for key, one in report.stacks.items() if not one.ok} == set(outcomes()["cipher-rsa-kx"].refused)


def test_gateway_that_answers_once_and_then_no_more_is_not_blamed_for_its_versions(serve, root):
    """No answer is no refusal: a firewall may let one connection pass in a while."""
    where = reach.Where("127.0.0.1", serve(manner="silent").port, NAME, time.monotonic() + 0.3)
    assert list(reach.of_handshake(where)) == []


def test_gateway_without_a_common_cipher_is_told(serve, root):
    """D3: no version helps."""
    report = look(serve(adjust=other_cipher), root)
    assert (report.verdict, report.headline.rule) == ("unreachable", "D3")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_gateway_that_requires_a_client_certificate_is_told(serve, root, version):
    """D4: within the handshake up to TLS 1.2, behind it in TLS 1.3."""
    report = look(serve(adjust=with_client_certificate(version)), root)
    assert (report.verdict, rules(report)[0], "X1" in rules(report)) == ("fail", "D4", False)
    assert len(report.chain) == 5
    assert len(report.findings[0].affects) == 26


# -- M ----------------------------------------------------------------------------------------------------------------


def test_device_that_the_gateway_accepts_is_no_finding(serve, root):
    """It connects once with CleanSession 0, and leaves."""
    responder = serve()
    report = look(responder, root, connection_string=STRING)
    assert (report.verdict, report.findings, report.accepted) == ("ok", [], True)
    assert "the gateway accepts the device of the connection string" in list(lines(report))
    assert responder.wait(CONNECT)[0].flags & 0x02 == 0


@pytest.mark.parametrize(("code", "rule"), [(1, "M5"), (2, "M5"), (3, "M5"), (4, "M5"), (5, "M6"), (99, "M5")])
def test_connack_is_a_finding(serve, root, code, rule):
    """Each code has its cause and its fix."""
    report = look(serve(connack=code), root, connection_string=STRING)
    assert (report.verdict, report.headline.rule) == ("fail", rule)
    assert f"CONNACK {code}" in report.findings[0].evidence


@pytest.mark.parametrize(
    ("manner", "cause"),
    [
        ("hang-up", "the gateway ends the connection instead of answering CONNECT"),
        ("mute", "the gateway does not answer CONNECT"),
    ],
)
def test_connect_without_an_answer_is_a_finding(serve, root, manner, cause):
    """M7, within the deadline."""
    report = look(serve(manner=manner), root, connection_string=STRING, timeout=1.5)
    assert (report.headline.rule, report.headline.cause) == ("M7", cause)


def test_device_does_not_connect_when_told_so_or_when_tls_fails(serve, root, chain):
    """--no-connect keeps a running device in peace; a broken chain is told without a try."""
    broken = serve(apply_defects(chain, ["leaf-only"]))
    for responder, options in ((serve(connack=5), {"connecting": False}), (broken, {})):
        report = look(responder, root, connection_string=STRING, **options)
        assert not [rule for rule in rules(report) if rule in ("M5", "M6", "M7")]


def test_name_of_the_gateway_comes_from_the_connection_string(serve, root):
    """What the device uses is what is looked at, also when the gateway is given by address."""
    report = look(serve(), root, name=None, connection_string=STRING)
    assert (report.name, report.verdict, report.findings) == (NAME, "ok", [])


def test_other_name_that_the_certificate_has_too_is_a_warning(serve, root):
    """Two names of one gateway are confusing, not wrong."""
    report = look(serve(), root, name="127.0.0.1", connection_string=STRING)
    assert (report.verdict, report.headline.rule, report.findings[0].severity) == ("ok", "M4", "warning")


@pytest.mark.parametrize(
    ("string", "trust", "seen"),
    [
        (STRING, None, "its token shall not go to somebody who is not trusted"),
        (STRING.replace(f"SharedAccessKey={KEY}", "x509=true"), True, "needs its private key"),
    ],
)
def test_device_that_cannot_be_connected_from_here_is_said(serve, root, string, trust, seen):
    """A note, and no CONNECT."""
    responder = serve()
    report = look(responder, root if trust else None, connection_string=string)
    assert (report.verdict, rules(report), report.accepted) == ("ok", ["M0"], None)
    assert seen in report.findings[0].evidence
    assert responder.packets == []


def test_connack_5_says_what_can_be_told_apart(serve, root):
    """Which reasons are ruled out, which look alike, and that MQTT does not tell the time."""
    evidence = look(serve(connack=5), root, connection_string=STRING).findings[0].evidence
    for words in ("Ruled out: a malformed user name", "no child of this gateway", "not tell the gateway's clock"):
        assert words in evidence


def token(resource, expires):
    """A ready-made token in place of the key."""
    text = f"SharedAccessSignature={sas_token(resource, KEY, int(expires))}"
    return STRING.replace(f"SharedAccessKey={KEY}", text)


GOOD = "hub.leafgate.test/devices/press-7"


@pytest.mark.parametrize(
    ("resource", "lifetime", "told"),
    [
        (GOOD, -600, "error: the token has expired"),
        (GOOD, -60, "warning: the token has expired, and counts for less than five minutes more"),
        (GOOD, 1e12, "warning: the token's expiry is in milliseconds"),
        ("other.test/devices/press-7", 600, "error: the token is for another audience"),
        (f"{GOOD}/messages/events", 600, "error: the token is for another audience"),
        ("hub.leafgate.test/devices/press-8", 600, "error: the token is for another audience"),
        ("HUB.leafgate.test/devices/PRESS-7", 600, None),
        (f"{NAME}/devices/press-7", 600, None),
    ],
)
def test_ready_made_token_is_judged_by_what_it_says(serve, root, resource, lifetime, told):
    """Expiry with Edge Hub's five minutes, and audience; its signature is in no report."""
    string = token(resource, time.time() + lifetime)
    report = look(serve(), root, connection_string=string, connecting=False)
    found = [f"{one.severity}: {one.cause}" for one in report.findings if one.rule == "M8"]
    assert found == ([told] if told else [])
    assert string.partition("sig=")[2].partition("&")[0] not in json.dumps(report.as_json())


@pytest.mark.parametrize("wrong", ["sr=a&sig=b", "Bearer x", "SharedAccessSignature  sr=a&sig=b&se=1"])
def test_malformed_token_is_a_finding(serve, root, wrong):
    """One blank, three fields."""
    string = STRING.replace(f"SharedAccessKey={KEY}", f"SharedAccessSignature={wrong}")
    report = look(serve(), root, connection_string=string, connecting=False)
    assert (report.headline.rule, report.headline.cause) == ("M8", "the token is malformed")


def test_ready_made_token_is_what_the_device_shows(serve, root):
    """The gateway gets that token and no other."""
    responder, string = serve(), token(GOOD, time.time() + 600)
    assert look(responder, root, connection_string=string).verdict == "ok"
    assert responder.wait(CONNECT)[0].password == string.partition("SharedAccessSignature=")[2].partition(";")[0]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("HostName=hub.test;DeviceId=x", "M1"),
        (f"HostName=hub.test;DeviceId=x;SharedAccessKey={KEY}", "M2"),
        (f"HostName={NAME};DeviceId=x;SharedAccessKey={KEY};GatewayHostName={NAME}", "M3"),
        (f"HostName=hub.test;DeviceId=x;SharedAccessKey={KEY};GatewayHostName=other.test", "M4"),
    ],
)
def test_connection_string_that_cannot_work_is_a_finding(serve, root, text, rule):
    """Without a connection being made for it."""
    report = look(serve(), root, connection_string=text, connecting=False)
    assert (report.verdict, report.headline.rule) == ("fail", rule)


def test_key_is_in_no_report(serve, root):
    """Whatever is wrong with a connection string, its key is not repeated."""
    for text in (STRING, STRING.replace("GatewayHostName", "GatewayHostname"), STRING + ";x"):
        report = look(serve(connack=5), root, connection_string=text)
        assert KEY not in json.dumps(report.as_json()) + "\n".join(lines(report))


# -- rules against a real handshake ------------------------------------------------------------------------------------


def contradict(monkeypatch, verdict):
    """Let the handshake come out otherwise than it does; nothing else makes the two disagree."""
    monkeypatch.setattr(type(STACKS["python"]), "attempt", lambda self, target, timeout: verdict)


def test_leaf_that_connects_in_spite_of_the_rules_decides_the_verdict(serve, root, chain, monkeypatch):
    """The rules' errors become warnings, and it is said."""
    contradict(monkeypatch, Verdict(True))
    report = look(serve(apply_defects(chain, ["expired-server"])), root)
    assert (report.verdict, rules(report)) == ("ok", ["E1", "X1"])
    assert report.findings[0].severity == "warning"
    assert report.findings[1].cause == "a leaf connects in spite of E1"


def test_leaf_that_refuses_for_an_unknown_reason_decides_the_verdict(serve, root, monkeypatch):
    """With its own words as evidence."""
    contradict(monkeypatch, Verdict(False, 1, "certificate revoked"))
    report = look(serve(), root)
    assert (report.verdict, rules(report)) == ("fail", ["X1"])
    assert "certificate revoked" in report.findings[0].evidence


def test_examination_keeps_what_was_captured(serve, root, chain):
    """For whoever wants to save it: certificates in the order served, and those trusted."""
    responder = serve()
    found = examine(f"127.0.0.1:{responder.port}", name=NAME, trust=root)
    assert found.served == tuple(chain.sent)
    assert found.trusted == tuple(chain.trust)
    assert found.report.trusted == [found.served[-1].subject.rfc4514_string()]


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_are_judged_for_any_time(pem, chain):
    """The same chain is sound today and expired in a year."""
    from datetime import UTC, datetime, timedelta

    served, trust = pem(chain.sent_pem, "served.pem"), pem(chain.trust_pem)
    assert diagnose_files(served, name=NAME, trust=trust).verdict == "ok"
    later = diagnose_files(served, name=NAME, trust=trust, at=datetime.now(UTC) + timedelta(days=365))
    assert (later.verdict, later.headline.rule) == ("fail", "E1")
    assert {one.source for one in later.stacks.values()} == {"predicted"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no PEM at all", "no certificate in it"), (b"", "no certificate in it"), (b"\x30\x82\x01\x00 DER", "it is DER")],
)
def test_file_without_certificates_is_an_error_of_one_line(pem, content, said):
    """It says what is in the file, or is not."""
    with pytest.raises(CertsError, match=said) as refused:
        diagnose_files(pem(content), name=NAME)
    assert refused.value.exit_code == 2
    assert refused.value.hint


def test_private_key_in_place_of_a_certificate_is_refused_without_showing_it(pem, chain):
    """Not one character of it is repeated, encrypted or not."""
    key = serialization.load_pem_private_key(chain.key_pem, None)
    secret = serialization.BestAvailableEncryption(b"1234")
    encrypted = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    for content in (chain.key_pem, encrypted):
        with pytest.raises(CertsError, match="a private key and no certificate") as refused:
            diagnose_files(pem(content), name=NAME)
        assert content.decode().splitlines()[1] not in str(refused.value)


def test_file_with_thousands_of_certificates_is_judged(pem, chain):
    """Nobody serves that, but a wrong file may hold a whole store."""
    strangers = Authority(hostname="x.test", keys=FreshKeys()).chain().sent_pem * 2_000
    report = diagnose_files(pem(chain.sent_pem + strangers), name=NAME, trust=pem(chain.trust_pem, "trust.pem"))
    assert report.headline is not None


@pytest.mark.parametrize(
    "name", ["gw..x", ".", ".gw", "gw.factory.test..", "x" * 64, "a b", "mqtts://gw", "gw:8883", "gw\0", "\u00e4" * 70]
)
def test_name_that_nobody_can_ask_for_is_an_error(serve, root, pem, chain, name):
    """One line, before any connection is made; the same for a file."""
    with pytest.raises(LeafError, match="is no host name"):
        look(serve(), root, name=name)
    with pytest.raises(LeafError, match="is no host name"):
        diagnose_files(pem(chain.sent_pem, "served.pem"), name=name)


@pytest.mark.parametrize("name", ["gw.factory.test.", "g\u00e4teway.local", "::1", "a_b", "*.factory.test"])
def test_odd_name_is_judged(serve, root, name):
    """Whatever a TLS client can ask for."""
    report = look(serve(), root, name=name)
    assert (report.verdict, report.headline.rule[0]) == ("fail", "N")


def test_wrong_address_is_an_error(root):
    """Not a traceback, and not a finding."""
    with pytest.raises(CertsError, match="is not HOST:PORT"):
        diagnose("gw.factory.test:port", trust=root)
    with pytest.raises((CertsError, LeafError)):
        diagnose("127.0.0.1:8883", trust=root.with_name("missing.pem"))


# -- the shape --------------------------------------------------------------------------------------------------------


def test_report_has_the_documented_shape(serve, root, chain):
    """Version 1: what programs rely on."""
    report = look(serve(apply_defects(chain, ["san-without-hostname"])), root).as_json()
    documented = ["version", "target", "name", "verdict", "headline", "findings", "stacks", "chain"]
    assert list(report) == [*documented, "accepted", "trusted"]
    assert list(report["headline"]) == ["rule", "cause", "fix"]
    assert {"rule", "severity", "cause", "evidence", "certificate", "fix"} <= set(report["findings"][0])
    assert {"ok", "message", "source"} <= set(report["stacks"]["python-ssl"])
    assert list(report["chain"][0]) == ["role", "subject", "issuer", "not_before", "not_after", "san"]
    assert Report.model_validate(report).as_json() == report
    assert report["headline"]["rule"] == "N2"


def test_text_blames_the_device_alone_where_the_chain_is_sound(serve, root):
    """Other leaves connect to that gateway."""
    text = next(lines(look(serve(connack=5), root, connection_string=STRING)))
    assert text.endswith("leaves on OpenSSL 3 connect, but not this device")


def test_schema_describes_every_field():
    """It is made from the same model that makes the report, and allows nothing else."""
    schema = Report.model_json_schema()
    assert set(schema["properties"]) == set(Report.model_fields)
    assert schema["additionalProperties"] is False


def test_text_says_the_cause_first_and_folds_the_stacks(serve, root, chain):
    """Verdict, cause, evidence, fix, who is affected."""
    text = list(lines(look(serve(apply_defects(chain, ["missing-intermediate"])), root)))
    assert text[0].endswith(f"as {NAME}: leaves on OpenSSL 3 do not connect")
    assert text[2].startswith("C1 error: a certificate is missing")
    assert text[5] == "   hits  every one of 26 measured TLS stacks"
