"""`leafgate diagnose` against real servers: what is found, in which order, and what counts."""

import json
import ssl

import pytest

from certs import Authority, CertsError, FreshKeys, apply_defects
from leafsim import LeafError
from leafsim.diagnose import Report, diagnose, diagnose_files
from leafsim.diagnose.text import lines
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


def test_gateway_without_a_common_cipher_is_told(serve, root):
    """D3: no version helps."""
    report = look(serve(adjust=other_cipher), root)
    assert (report.verdict, report.headline.rule) == ("unreachable", "D3")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_gateway_that_requires_a_client_certificate_is_told(serve, root, version):
    """D4: within the handshake up to TLS 1.2, behind it in TLS 1.3."""
    report = look(serve(adjust=with_client_certificate(version)), root)
    assert (report.verdict, report.headline.rule) == ("fail", "D4")
    assert len(report.chain) == 5


# -- M ----------------------------------------------------------------------------------------------------------------


def test_device_that_the_gateway_accepts_is_no_finding(serve, root):
    """It connects once with CleanSession 0, and leaves."""
    responder = serve()
    report = look(responder, root, connection_string=STRING)
    assert (report.verdict, report.findings) == ("ok", [])
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


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_are_judged_for_any_time(pem, chain):
    """The same chain is sound today and expired in a year."""
    from datetime import UTC, datetime, timedelta

    served, trust = pem(chain.sent_pem, "served.pem"), pem(chain.trust_pem)
    assert diagnose_files(served, name=NAME, trust=trust).verdict == "ok"
    later = diagnose_files(served, name=NAME, trust=trust, at=datetime.now(UTC) + timedelta(days=365))
    assert (later.verdict, later.headline.rule) == ("fail", "E1")
    assert {one.source for one in later.stacks.values()} == {"predicted"}


@pytest.mark.parametrize("content", [b"no PEM at all", b"", b"\x30\x82\x01\x00 DER"])
def test_file_without_certificates_is_an_error_of_one_line(pem, content):
    """It says what is in the file, or is not."""
    with pytest.raises(CertsError) as refused:
        diagnose_files(pem(content), name=NAME)
    assert refused.value.exit_code == 2
    assert refused.value.hint


def test_private_key_in_place_of_a_certificate_is_refused_without_showing_it(pem, chain):
    """Not one character of it is repeated."""
    with pytest.raises(CertsError) as refused:
        diagnose_files(pem(chain.key_pem), name=NAME)
    assert chain.key_pem.decode().splitlines()[1] not in str(refused.value)


def test_file_with_thousands_of_certificates_is_judged(pem, chain):
    """Nobody serves that, but a wrong file may hold a whole store."""
    strangers = Authority(hostname="x.test", keys=FreshKeys()).chain().sent_pem * 2_000
    report = diagnose_files(pem(chain.sent_pem + strangers), name=NAME, trust=pem(chain.trust_pem, "trust.pem"))
    assert report.headline is not None


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
    assert list(report) == ["version", "target", "name", "verdict", "headline", "findings", "stacks", "chain"]
    assert list(report["headline"]) == ["rule", "cause", "fix"]
    assert {"rule", "severity", "cause", "evidence", "certificate", "fix"} <= set(report["findings"][0])
    assert {"ok", "message", "source"} <= set(report["stacks"]["python-ssl"])
    assert list(report["chain"][0]) == ["role", "subject", "issuer", "not_before", "not_after", "san"]
    assert Report.model_validate(report).as_json() == report
    assert report["headline"]["rule"] == "N2"


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
