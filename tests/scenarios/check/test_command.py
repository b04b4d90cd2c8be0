"""`leafgate check` as a user runs it: report, JSON, exit codes."""

from __future__ import annotations

import io
import json
import re
import signal
from pathlib import Path

import pytest

from certs import apply_defects
from scenarios.check.command import run_check
from scenarios.check.registry import checks
from scenarios.check.sources import Inputs
from tests.scenarios.check.conftest import NAME, Served, authority
from tests.scenarios.command import inside, leafgate, running
from tests.scenarios.test_up import ready

HEALTHY = """\
Connectivity checks
-------------------
√ leaf devices can reach Edge Hub's MQTT port - OK
√ leaf devices can reach Edge Hub's HTTPS / WebSockets port - OK
- leaf devices can reach Edge Hub's AMQP port - Skipped
    leafgate's Edge Hub does not speak AMQP

Leaf device checks
------------------
√ host time is close to the certificates' time - OK
√ leaf devices can perform TLS handshake with Edge Hub - OK
√ Edge Hub's server certificate is within its time - OK
√ Edge Hub's server certificate names the hostname - OK
√ Edge Hub serves its whole chain, in order - OK
√ certificates above Edge Hub's are within their time - OK
√ authorities and purposes in Edge Hub's chain are right - OK
√ Edge Hub's chain has no CN loop - OK
√ leaf devices trust the root of Edge Hub's chain - OK
√ Edge Hub's chain suits every TLS stack - OK
√ leaf devices are children of this gateway - OK

13 check(s) succeeded.
1 check(s) were skipped.
"""

BROKEN = """\
Connectivity checks
-------------------
√ leaf devices can reach Edge Hub's MQTT port - OK
√ leaf devices can reach Edge Hub's HTTPS / WebSockets port - OK
- leaf devices can reach Edge Hub's AMQP port - Skipped
    leafgate's Edge Hub does not speak AMQP

Leaf device checks
------------------
√ host time is close to the certificates' time - OK
× leaf devices can perform TLS handshake with Edge Hub - Error
    a leaf device that trusts TRUST and connects to gw.factory.test is refused: unable to get local issuer certificate
        caused by: python [STACK]: 20
√ Edge Hub's server certificate is within its time - OK
‼ Edge Hub's server certificate names the hostname - Warning
    the name stands in the common name only, where Go, rustls and cryptography do not look
    make the server certificate with a subjectAltName
        caused by: N3: no dNSName; common name gw.factory.test
        caused by: refused by pyOpenSSL 26.4 with service_identity, cryptography 50 x509.verification, \
Go 1.27, Go 1.19, rustls 0.20 (measured)
× Edge Hub serves its whole chain, in order - Error
    a certificate is missing: "Azure IoT Hub Intermediate Cert Test Only" is neither sent nor trusted
    put the full chain into the device CA file, from the device CA up to the root
        caused by: C1: it issued gw.factory.test.ca (device-ca)
        caused by: refused by all of 26 measured TLS stacks
√ certificates above Edge Hub's are within their time - OK
√ authorities and purposes in Edge Hub's chain are right - OK
√ Edge Hub's chain has no CN loop - OK
√ leaf devices trust the root of Edge Hub's chain - OK
√ Edge Hub's chain suits every TLS stack - OK
√ leaf devices are children of this gateway - OK

10 check(s) succeeded.
1 check(s) raised warnings.
2 check(s) raised errors.
1 check(s) were skipped.
"""


def test_healthy_gateway_reads_like_this(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole report of a gateway with nothing wrong, by its ready file; exit code 0."""
    served.serve(authority().chain())
    done = inside(capsys, "check", "--ready-file", served.gateway.ready_file)
    assert (done.returncode, done.stdout, done.stderr) == (0, HEALTHY, "")


def test_broken_gateway_reads_like_this(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole report of a gateway without its intermediate and without SAN; exit code 1."""
    served.serve(apply_defects(authority().chain(), ["missing-intermediate", "no-san"]))
    done = inside(capsys, "check", "--ready-file", served.gateway.ready_file, "--verbose")
    text = re.sub(r"\[OpenSSL[^]]*\]", "[STACK]", done.stdout.replace(str(served.gateway.root_ca), "TRUST"))
    assert (done.returncode, text, done.stderr) == (1, BROKEN, "")


def test_report_without_verbose_hides_the_evidence_and_says_so(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the product: causes only with --verbose, which the counts offer."""
    served.serve(apply_defects(authority().chain(), ["missing-intermediate"]))
    done = inside(capsys, "check", "--ready-file", served.gateway.ready_file)
    assert "caused by" not in done.stdout
    assert "2 check(s) raised errors. Re-run with --verbose for more details.\n" in done.stdout


def test_json_has_the_products_shape(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """`additional_info`, and each check's result with its details; every check is there, and nothing secret."""
    served.serve(apply_defects(authority().chain(), ["missing-intermediate", "no-san"]))
    done = inside(capsys, "check", "--ready-file", served.gateway.ready_file, "--output", "json")
    report = json.loads(done.stdout)
    assert set(report) == {"additional_info", "checks"}
    assert set(report["checks"]) == {check.id for check in checks()}
    assert all(set(one) == {"result", "additional_info"} for one in report["checks"].values())
    results = {name: one["result"] for name, one in report["checks"].items()}
    assert results["edge-hub-cn-loop"] == {"result": "ok"}
    assert results["hostname"] == {"result": "ignored", "details": ["no --iotedge-config is given"]}
    assert results["edge-hub-port-amqp"]["result"] == "skipped"
    assert results["edge-hub-server-certificate-names"]["result"] == "warning"
    assert results["edge-hub-chain-complete"]["result"] == "error"
    assert results["edge-hub-chain-complete"]["details"][1] == "C1: it issued gw.factory.test.ca (device-ca)"
    assert report["additional_info"]["name"] == NAME
    assert "SharedAccessKey" not in done.stdout
    assert done.returncode == 1


def test_check_that_is_not_wanted_is_left_out(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """--dont-run ID: it is not shown, and it fails nothing."""
    served.serve(apply_defects(authority().chain(), ["missing-intermediate"]))
    left_out = ("--dont-run", "edge-hub-chain-complete", "--dont-run", "edge-hub-tls-handshake")
    done = inside(capsys, "check", "--ready-file", served.gateway.ready_file, *left_out)
    assert done.returncode == 0
    assert "in order" not in done.stdout
    assert "11 check(s) succeeded.\n1 check(s) were skipped.\n" in done.stdout


def test_check_id_that_does_not_exist_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest one that does."""
    done = inside(capsys, "check", "localhost:8883", "--dont-run", "hostnam")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no check 'hostnam'\n  hint: did you mean `hostname`?" in done.stderr


def test_warnings_as_errors_fail_the_run(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning alone exits 0, with the option 1 and the error's mark."""
    served.serve(apply_defects(authority().chain(), ["no-san"]))
    arguments = ("check", "--ready-file", served.gateway.ready_file)
    assert inside(capsys, *arguments).returncode == 0
    done = inside(capsys, *arguments, "--warnings-as-errors")
    assert done.returncode == 1
    assert "× Edge Hub's server certificate names the hostname - Error" in done.stdout
    assert "1 check(s) raised errors." in done.stdout


def test_nothing_to_check_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an input there is no report, but a way out."""
    done = inside(capsys, "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert "leafgate: there is nothing to check\n  hint: give --iotedge-config FILE" in done.stderr


def test_list_has_every_check_with_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    """Category, id and description, as the product lists them."""
    done = inside(capsys, "check", "--list")
    head, *rows = done.stdout.splitlines()
    assert re.split(r"\s{2,}", head) == ["CATEGORY", "ID", "DESCRIPTION"]
    listed = [row for row in rows if row]
    assert len(listed) == len(list(checks()))
    for row, check in zip(listed, checks(), strict=True):
        assert f" {check.id} " in row
        assert row.endswith(check.description)


def test_documentation_has_every_check() -> None:
    """docs/check.md has a row for each id, or for its protocol's twin."""
    text = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    table = text.partition("## The checks")[2].partition("## Checks of the product")[0]
    for check in checks():
        family, _, last = check.id.rpartition("-")
        assert f"`{check.id}`" in table or (f"`{family}-" in table and f"`-{last}`" in table), check.id


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True

    def fileno(self) -> int:
        """A number to ask the size of."""
        return 0


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_is_for_terminals_without_no_color(
    served: Served, monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    """Green on a terminal; NO_COLOR takes it away, and nothing else."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("os.get_terminal_size", lambda fileno: type("Size", (), {"columns": 100}))
    served.serve(authority().chain())
    out = Terminal()
    assert run_check(Inputs(ready_file=served.gateway.ready_file), out) is False
    assert ("\x1b[32m√" in out.getvalue()) == (not no_color)
    assert re.sub("\x1b\\[[0-9]*m", "", out.getvalue()) == HEALTHY


def test_name_in_a_certificate_cannot_steer_the_terminal(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A common name with an escape sequence is spelled out."""
    trust = tmp_path / "other.pem"
    trust.write_bytes(authority(root_cn="Evil \x1b[31mroot").chain().trust_pem)
    served.serve(authority(root_cn="Own \x1b[2Jroot").chain())
    done = inside(capsys, "check", "--ready-file", served.gateway.ready_file, "--trust", trust, "--verbose")
    assert "\x1b" not in done.stdout
    assert "root: Own \\x1b[2Jroot; trusted: Evil \\x1b[31mroot" in done.stdout


def test_gateway_that_is_gone_is_a_finding(capsys: pytest.CaptureFixture[str], served: Served, tmp_path: Path) -> None:
    """Not reached is what was checked, so it is an error found (1), not a failure to check (3)."""
    facts = json.loads(served.gateway.ready_file.read_text())
    stale = tmp_path / "ready.json"
    stale.write_text(json.dumps(facts | {"mqtt_port": 1, "https_port": 1}))
    done = inside(capsys, "check", "--ready-file", stale)
    assert done.returncode == 1
    assert "× leaf devices can reach Edge Hub's MQTT port - Error\n    127.0.0.1:1: cannot connect" in done.stdout


def test_running_gateway_and_its_leaves_are_checked(tmp_path: Path) -> None:
    """`leafgate up --state`, then `leafgate check` beside it: all OK, the leaf is a child."""
    path = tmp_path / "ready.json"
    arguments = ("--mqtt-port", "0", "--state", tmp_path / "state", "--ready-file", path, "--leaf", "press-7")
    with running("up", *arguments) as process:
        ready(process, path)
        done = leafgate("check", "--ready-file", path)
        process.send_signal(signal.SIGTERM)
    assert (done.returncode, done.stderr) == (0, "")
    assert "√ leaf devices are children of this gateway - OK" in done.stdout
    assert "13 check(s) succeeded.\n1 check(s) were skipped.\n" in done.stdout
