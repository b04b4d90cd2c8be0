"""`leafgate matrix` with the stacks that are always at hand."""

import json

import pytest

from certs import Authority, CachedKeys, apply_defects
from certs.outcomes import MEASURED_STACKS, outcomes
from leafsim import STACKS
from scenarios.matrix.server import serving
from scenarios.matrix.table import Answer, Asking, at_hand, measured_row, same_words
from tests.scenarios.command import inside

BUILT_IN = Asking(("python", "paho"))


@pytest.mark.parametrize("name", sorted(outcomes()))
def test_built_in_stacks_say_what_was_measured(name):
    """Every measured chain, served over a socket: verdict and words of Python's ssl and of paho."""
    row = measured_row(name, BUILT_IN)
    assert row.differences == ()
    if outcomes()[name].server_refuses:
        assert row.answers == ()
        return
    assert [answer.source for answer in row.answers[:2]] == ["live", "live"]
    assert len(row.answers) == len(MEASURED_STACKS)


def test_difference_is_pointed_out(monkeypatch):
    """When the table said otherwise, the answer is marked and the exit code is 1."""
    from scenarios.matrix import table

    real = table.outcomes()
    monkeypatch.setattr(table, "outcomes", lambda: {**real, "ok-5level": real["miss-inter"]})
    monkeypatch.setattr(table, "rebuild", lambda name: Authority(hostname="gw.iot.local", key="ec").chain())
    row = measured_row("ok-5level", BUILT_IN)
    assert [answer.stack for answer in row.differences] == ["python", "paho"]


@pytest.mark.parametrize(
    ("message", "code", "measured", "same"),
    [
        (
            "certificate has expired",
            10,
            "verify failed: certificate has expired (_ssl.c:1)",
            True,
        ),
        ("certificate has expired", 10, "certificate is not yet valid", False),
        (
            "the gateway sent alert protocol_version",
            "protocol_version",
            "tlsv1 alert protocol version (_ssl.c:9)",
            True,
        ),
        ("the gateway closed the connection", "eof", "SSLEOFError: EOF occurred in violation of protocol", True),
        ("no answer in time", "timeout", "HANG (spins after EOF)", True),
        (
            "Hostname/IP does not match",
            "ERR_TLS_CERT_ALTNAME_INVALID",
            "ERR_TLS_CERT_ALTNAME_INVALID Hostname/IP does",
            True,
        ),
    ],
)
def test_words_are_compared_without_what_changes(message, code, measured, same):
    """Places in a source file, codes and the end that the table cut off do not count."""
    assert same_words(Answer("python", "live", False, message, code), measured) is same


def test_all_stacks_have_the_names_of_the_table():
    """So that what is asked and what was measured can be compared."""
    assert {name for name, stack in STACKS.items() if not stack.modelled} <= set(MEASURED_STACKS)
    assert {"python", "paho"} <= set(at_hand())


def test_one_chain_is_told_with_who_connects_and_why(capsys):
    """Live answers first, then the measured ones, then a sentence."""
    result = inside(capsys, "matrix", "loop-hist-1.0.3", "--stack", "python")
    assert result.returncode == 0
    assert "asked just now" in result.stdout
    assert "Node.js 8 (OpenSSL 1.0.2)" in result.stdout
    words = " ".join(result.stdout.split())
    assert "This chain fails on Python 3.13" in words
    assert "N3: the name stands in the common name only" in words


def test_json_has_every_answer(capsys):
    """For programs."""
    result = inside(capsys, "matrix", "miss-inter", "--stack", "python", "--json")
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["name"], len(row["answers"])) == ("miss-inter", 26)
    assert row["answers"][0] | {"version": ""} == {
        "stack": "python", "source": "live", "ok": False, "message": "unable to get local issuer certificate",
        "code": 20, "version": "", "agrees": True,
    }  # fmt: skip


def test_running_server_is_judged(capsys, tmp_path):
    """HOST:PORT with the name and the root that leaves use."""
    chain = apply_defects(Authority(hostname="gw.test", keys=CachedKeys()).chain(), ["expired-server"])
    with serving(chain) as (port, trust):
        result = inside(
            capsys, "matrix", f"127.0.0.1:{port}", "--name", "gw.test", "--trust", trust, "--stack", "python"
        )
    assert result.returncode == 0
    assert "certificate has expired (10)" in result.stdout


@pytest.mark.parametrize("with_key", [True, False])
def test_chain_in_a_file_is_judged(capsys, tmp_path, with_key):
    """With its key, or imitated with another one; stacks that are not at hand answer as they did to a chain like it."""
    chain = apply_defects(Authority(hostname="gw.test", keys=CachedKeys()).chain(), ["wrong-order"])
    files = {name: tmp_path / name for name in ("served.pem", "key.pem", "root.pem")}
    for path, content in zip(files.values(), (chain.sent_pem, chain.key_pem, chain.trust_pem), strict=True):
        path.write_bytes(content)
    words = ["matrix", files["served.pem"], "--trust", files["root.pem"], "--stack", "python", "--json"]
    result = inside(capsys, *words, *(["--key", files["key.pem"]] if with_key else []))
    (row,) = json.loads(result.stdout)["rows"]
    answers = {answer["stack"]: (answer["source"], answer["ok"]) for answer in row["answers"]}
    assert (result.returncode, len(answers), row["why"][:3]) == (0, 26, "C2:")
    assert answers["python"] == ("live", True)
    assert answers["wolfssl"] == ("predicted", False)


def test_bundle_of_a_diagnosis_is_judged(capsys, tmp_path):
    """Name and trust are in it; the closing sentence has the cause."""
    chain = apply_defects(Authority(hostname="gw.test", keys=CachedKeys()).chain(), ["missing-intermediate"])
    for name, content in (("served.pem", chain.sent_pem), ("root.pem", chain.trust_pem)):
        (tmp_path / name).write_bytes(content)
    files = ("--chain", tmp_path / "served.pem", "--trust", tmp_path / "root.pem", "--name", "gw.test")
    inside(capsys, "diagnose", *files, "--save", tmp_path / "failure.zip")
    result = inside(capsys, "matrix", tmp_path / "failure.zip", "--stack", "python")
    words = " ".join(result.stdout.split())
    assert "as they answered to a measured chain with the same fault" in words
    assert "This chain fails on all 26 stacks. C1: a certificate is missing" in words


def test_scenario_of_the_library_is_judged(capsys):
    """With the name and the trust of its leaf."""
    result = inside(capsys, "matrix", "hostname-mismatch", "--stack", "python")
    assert "Hostname mismatch" in result.stdout


def test_list_shows_what_is_at_hand(capsys):
    """And how to get what is not."""
    result = inside(capsys, "matrix", "--list")
    assert result.returncode == 0
    assert any(line.startswith("paho ") for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nosuch",), 2, "there is no chain, file or scenario 'nosuch'"),
        (("tls",), 2, "scenarios"),
        (("missing.pem",), 2, "missing.pem: cannot be read"),
        (("README.md", "--key", "x.pem"), 2, "no certificate in it"),
        (("miss-inter", "--stack", "sslyze"), 2, "there is no TLS stack 'sslyze'"),
        (("--install", "java"), 2, "'java' cannot be fetched"),
        (("127.0.0.1:nine",), 2, "is not HOST:PORT"),
        (("127.0.0.1:1", "--stack", "python"), 3, ""),
    ],
)
def test_wrong_usage_is_told_in_a_line(capsys, words, code, said):
    """With what there is instead; nobody listening is exit code 3."""
    result = inside(capsys, "matrix", *words)
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
