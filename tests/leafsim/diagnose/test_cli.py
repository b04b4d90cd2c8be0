"""The commands `diagnose` and `why` as people and programs use them."""

import json

import pytest
from typer.testing import CliRunner

import leafgate as front_door
from certs import apply_defects
from leafsim.diagnose import cli
from tests.leafsim.conftest import NAME, STRING


@pytest.fixture
def run(capsys):
    """Run a command of leafgate within this process."""
    import typer

    app = typer.Typer()
    app.command("diagnose")(cli.diagnose)
    app.command("why")(cli.why)

    def command(*words, text=None):
        return CliRunner().invoke(app, [str(word) for word in words], input=text)

    return command


def test_diagnose_tells_a_healthy_gateway_with_exit_code_0(run, serve, root):
    """And says so in words."""
    result = run("diagnose", f"127.0.0.1:{serve().port}", "--name", NAME, "--trust", root)
    assert (result.exit_code, "nothing is wrong" in result.stdout) == (0, True)


def test_diagnose_finds_a_cause_with_exit_code_1(run, serve, root, chain):
    """As text and as JSON."""
    where = f"127.0.0.1:{serve(apply_defects(chain, ['leaf-only'])).port}"
    result = run("diagnose", where, "--name", NAME, "--trust", root, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["headline"]["rule"] == "C1"


def test_diagnose_that_reaches_nobody_ends_with_exit_code_3(run, serve, root):
    """The finding is printed all the same."""
    responder = serve()
    responder.close()
    result = run("diagnose", f"127.0.0.1:{responder.port}", "--trust", root)
    assert (result.exit_code, "D1 error" in result.stdout) == (3, True)


def test_diagnose_reads_the_connection_string_from_standard_input(run, serve, root):
    """So that a key is in no list of processes."""
    where = f"127.0.0.1:{serve(connack=5).port}"
    result = run("diagnose", where, "--name", NAME, "--trust", root, "--connection-string", "-", text=STRING + "\n")
    assert (result.exit_code, "M6 error" in result.stdout) == (1, True)


def test_diagnose_judges_a_file(run, pem, chain):
    """Offline, for another time if asked."""
    served = pem(chain.sent_pem, "served.pem")
    words = ("diagnose", "--chain", served, "--name", NAME, "--trust", pem(chain.trust_pem))
    assert run(*words).exit_code == 0
    result = run(*words, "--at", "2099-01-01")
    assert (result.exit_code, "E1 error" in result.stdout) == (1, True)


def test_diagnose_prints_its_schema(run):
    """For whoever reads the JSON with a program."""
    assert json.loads(run("diagnose", "--schema").stdout)["title"] == "Report"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give HOST:PORT, or --chain FILE"),
        (("127.0.0.1:1", "--chain", "x.pem"), "give HOST:PORT, or --chain FILE"),
        (("127.0.0.1:nine",), "is not HOST:PORT"),
        (("127.0.0.1:1", "--trust", "missing.pem"), "missing.pem"),
        (("127.0.0.1:1", "--stack", "sslyze"), "there is no TLS stack 'sslyze'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words, said, capsys):
    """With what to do instead, and without a traceback."""
    if front_door.main(["why", "certificate has expired, please"]) != 0:
        pytest.skip("the commands are not installed")
    capsys.readouterr()
    assert front_door.main(["diagnose", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_why_explains_and_ends_with_0(run):
    """Cause, fix, who says it, how to see it."""
    result = run("why", "unable to get local issuer certificate")
    assert result.exit_code == 0
    assert result.stdout.startswith("T1  the leaf does not trust the root")
    assert "see  leafgate" in result.stdout


def test_why_reads_standard_input_and_writes_json(run):
    """A log can be piped into it."""
    found = json.loads(run("why", "-", "--json", text="... certificate has expired ...").stdout)
    assert found[0]["rule"] == "E1"


def test_why_that_does_not_know_says_so_with_exit_code_1(run):
    """And what to try."""
    result = run("why", "kaputt")
    assert (result.exit_code, "leafgate diagnose" in result.stderr) == (1, True)
