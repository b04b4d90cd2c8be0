"""`leafgate up` with certificates of a customer: by their configuration, or imitated from what everybody may see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs import Authority, CachedKeys, Chain, apply_defects, files, layout
from certs.certgen import WorkingFolder
from certs.diagnose import problems
from certs.renewal import earliest_expiry
from certs.x509io import public_key_id
from leafsim.diagnose import bundle
from leafsim.diagnose.examine import Examination, examine
from scenarios.chainsource import Source, find
from scenarios.errors import CannotPlayError
from scenarios.upoptions import Options
from tests.leafsim.responder import Responder
from tests.scenarios.check.test_configured import TOML, YAML, written
from tests.scenarios.command import inside, leafgate

NAME = "gw.factory.test"


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the convenience scripts with the device CA of a gateway."""
    folder = tmp_path_factory.mktemp("certs")
    scripts = WorkingFolder(folder, keys=CachedKeys(), environment={})
    scripts.create_root_and_intermediate(algorithm="ec")
    scripts.create("create_edge_device_ca_certificate", "gw1")
    return folder


@pytest.fixture
def public(certs: Path, tmp_path: Path) -> Path:
    """The same folder as a customer may hand it over: without private keys."""
    folder = tmp_path / "public"
    (folder / "certs").mkdir(parents=True)
    for file in (certs / "certs").glob("*.pem"):
        (folder / "certs" / file.name).write_bytes(file.read_bytes())
    return folder


def chain_with(*defects: str) -> Chain:
    """A gateway's chain, spoiled."""
    return apply_defects(Authority(hostname=NAME, keys=CachedKeys()).chain(), defects)


def found(chain: Chain) -> list[str]:
    """The rules that a chain breaks."""
    return [one.rule for one in problems(chain.sent, name=chain.hostname, trust=chain.trust)]


def source(**options: object) -> Source:
    """What `up` would serve."""
    return find(Options(**options), None)  # type: ignore[arg-type]


# --- --iotedge-config ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "shape"), [("config.toml", TOML, ("1.5", 4)), ("config.yaml", YAML, ("1.1", 5))]
)
def test_configuration_gives_name_device_ca_and_trust(
    certs: Path, tmp_path: Path, name: str, text: str, shape: tuple[str, int]
) -> None:
    """With the customer's own key; the file's format tells whether there is a workload CA."""
    made = source(iotedge_config=written(tmp_path, text, name, certs=certs)).chain
    assert (made.hostname, (made.generation, len(made.levels))) == ("gw1.factory.test", shape)
    device_ca = files.read_certificates(certs / "certs" / "iot-edge-device-ca-gw1-full-chain.cert.pem")[0]
    assert device_ca in made.sent
    assert set(found(made)) <= {"W2"}  # serial number 0, as the product from 1.2 on has it


def test_options_count_more_than_the_configuration(
    certs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Host name, generation and trust bundle; that the name is another is said."""
    other = tmp_path / "other.pem"
    other.write_bytes(chain_with().trust_pem)
    path = written(tmp_path, TOML, certs=certs)
    made = source(iotedge_config=path, hostname="other.test", generation="1.2", trust_bundle=other).chain
    assert (made.hostname, made.generation, made.trust_pem) == ("other.test", "1.2", other.read_bytes())
    assert f"{path} is for gw1.factory.test, --hostname is other.test" in capsys.readouterr().err


def test_files_of_the_configuration_are_found_below_another_folder(certs: Path, tmp_path: Path) -> None:
    """A copy of the gateway's disk."""
    disk = tmp_path / "disk"
    (disk / "etc").mkdir(parents=True)
    (disk / "etc" / "aziot").symlink_to(certs)
    path = written(tmp_path, TOML, certs="/etc/aziot")
    assert source(iotedge_config=path, config_root=disk).chain.hostname == "gw1.factory.test"


@pytest.mark.parametrize(("name", "text"), [("config.toml", TOML), ("config.yaml", YAML)])
def test_missing_key_is_told_with_the_way_to_go_on(public: Path, tmp_path: Path, name: str, text: str) -> None:
    """Customers do not hand over keys; the hint is the command without one."""
    path = written(tmp_path, text, name, certs=public)
    with pytest.raises(CannotPlayError, match=r"iot-edge-device-ca-gw1.key.pem is not here") as refused:
        source(iotedge_config=path)
    assert f"leafgate up --imitate {path}" in str(refused.value.hint)


def test_configuration_that_names_no_key_is_told(certs: Path, tmp_path: Path) -> None:
    """[edge_ca] cert alone."""
    path = written(tmp_path, TOML.partition("pk =")[0], certs=certs)
    with pytest.raises(CannotPlayError, match="key cannot be used: there is none"):
        source(iotedge_config=path)


def test_missing_certificate_is_told(tmp_path: Path) -> None:
    """The file of the message is the one looked for here."""
    with pytest.raises(CannotPlayError, match=r"/no/such/certs/.* cannot be read"):
        source(imitate=written(tmp_path, TOML, certs="/no/such"))


def test_device_ca_from_est_is_told(tmp_path: Path) -> None:
    """There is no file; what is served can be imitated."""
    path = written(tmp_path, 'hostname = "gw"\n[edge_ca]\nmethod = "est"\n')
    with pytest.raises(CannotPlayError, match="it is issued by est") as refused:
        source(iotedge_config=path)
    assert "--save" in str(refused.value.hint)


@pytest.mark.parametrize(("name", "text"), [("config.toml", 'hostname = "gw"\n'), ("config.yaml", "hostname: gw\n")])
def test_configuration_without_device_ca_is_a_quickstart(
    tmp_path: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the daemon does; it is said."""
    made = source(iotedge_config=written(tmp_path, text, name)).chain
    assert (made.hostname, made.generation) == ("gw", "quickstart")
    assert "No device CA is configured" in capsys.readouterr().err


def test_parent_that_is_not_followed_is_told(certs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that nobody looks for it."""
    source(iotedge_config=written(tmp_path, 'parent_hostname = "top.test"\n' + TOML, certs=certs))
    assert "parent_hostname top.test is not followed" in capsys.readouterr().err


# --- --imitate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), [("config.toml", TOML), ("config.yaml", YAML)])
def test_configuration_is_imitated_without_keys(
    public: Path, certs: Path, tmp_path: Path, name: str, text: str
) -> None:
    """The same device CA with another key, below the same root with another key."""
    path = written(tmp_path, text, name, certs=public)
    copy = source(imitate=path).chain
    genuine = source(iotedge_config=written(tmp_path, text, f"genuine-{name}", certs=certs)).chain
    assert found(copy) == found(genuine)
    for old, new in zip(genuine.levels, copy.levels, strict=True):
        assert old.template.subject == new.template.subject
        assert public_key_id(old.certificate) != public_key_id(new.certificate)


def test_served_chain_is_imitated_under_its_own_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A PEM file alone: the name is the certificate's, the trust is not known, which is said."""
    path = tmp_path / "served.pem"
    path.write_bytes(chain_with("expired-server").sent_pem)
    copy = source(imitate=path).chain
    assert copy.hostname == NAME
    assert found(copy)[0] == "E1"
    assert "what the leaf trusts is not known" in capsys.readouterr().err


def test_trust_bundle_comes_with_the_chain(tmp_path: Path) -> None:
    """A leaf that trusts another root of the same name is imitated too."""
    chain = chain_with("same-named-root")
    served, trusted = tmp_path / "served.pem", tmp_path / "trust.pem"
    served.write_bytes(chain.sent_pem)
    trusted.write_bytes(chain.trust_pem)
    assert found(source(imitate=served, trust_bundle=trusted).chain) == found(chain)


def test_time_is_moved_to_the_moment_of_the_failure(tmp_path: Path) -> None:
    """What was valid then is valid now, and with the same time to go."""
    chain, path = chain_with(), tmp_path / "served.pem"
    path.write_bytes(chain.sent_pem)
    year = timedelta(days=365)
    copy = source(imitate=path, at=datetime.now(UTC) + year).chain
    moved = earliest_expiry(chain.sent).not_valid_after_utc - earliest_expiry(copy.sent).not_valid_after_utc
    assert abs(moved - year) < timedelta(minutes=1)
    assert found(copy)[0] == "E1"


def test_defects_can_be_added_to_an_imitation(tmp_path: Path) -> None:
    """What would happen if: the copy's keys are here, so everything can be issued again."""
    path = tmp_path / "served.pem"
    path.write_bytes(chain_with().sent_pem)
    assert found(source(imitate=path, defects=("expired-server",)).chain)[0] == "E1"


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[list[Responder]]:
    """Servers to look at; all are stopped at the end."""
    servers: list[Responder] = []
    yield servers
    for one in servers:
        one.close()


def looked_at(servers: list[Responder], chain: Chain, folder: Path) -> bundle.Bundle:
    """What a diagnosis of a real server with this chain saves."""
    servers.append(Responder(chain))
    root, path = folder / "root.pem", folder / "failure.zip"
    root.write_bytes(chain.trust_pem)
    seen = examine(f"127.0.0.1:{servers[-1].port}", name=NAME, trust=root)
    bundle.save(path, seen, captured=datetime.now(UTC))
    return bundle.load(path)


@pytest.mark.parametrize(
    "defects",
    [
        ("missing-intermediate",),
        ("missing-workload-ca", "root-not-sent"),
        ("expired-server",),
        ("not-yet-valid-workload-ca",),
        ("same-named-root", "root-not-sent"),
        ("other-root-trusted",),
        ("wrong-order",),
        ("device-ca-not-ca",),
        ("no-san",),
        ("san-without-hostname",),
        ("device-ca-replaced",),
        ("server-client-auth-only",),
        ("intermediate-path-length-zero",),
        ("loop-device-ca", "no-key-ids", "server-without-key-usage"),
        (),
    ],
    ids="+".join,
)
def test_bundle_shows_the_same_failure_again(
    defects: tuple[str, ...], tmp_path: Path, captured: list[Responder]
) -> None:
    """Diagnosed on a real server, saved, rebuilt with other keys, served, and diagnosed: the same report."""
    first = looked_at(captured, chain_with(*defects), tmp_path)
    copy = source(imitate=tmp_path / "failure.zip").chain
    second = looked_at(captured, copy, tmp_path)
    assert second.report.headline == first.report.headline
    assert [one.rule for one in second.report.findings] == [one.rule for one in first.report.findings]
    assert second.report.stacks == first.report.stacks
    assert {public_key_id(one) for one in first.served}.isdisjoint(map(public_key_id, second.served))


def test_what_is_no_matter_of_certificates_is_told(
    tmp_path: Path, captured: list[Responder], capsys: pytest.CaptureFixture[str]
) -> None:
    """A gateway that turned away who showed no certificate: the copy does not, and the user knows."""
    seen = looked_at(captured, chain_with(), tmp_path)
    finding = {"rule": "D4", "severity": "error", "cause": "it wants a certificate", "evidence": "", "fix": ""}
    report = seen.report.model_validate(seen.report.as_json() | {"findings": [finding]})
    path = tmp_path / "d4.zip"
    bundle.save(path, Examination(report, seen.served, seen.trusted), captured=seen.captured)
    source(imitate=path)
    assert "not shown again: D4, it wants a certificate" in capsys.readouterr().err


def test_bundle_is_served_by_the_command(tmp_path: Path) -> None:
    """The whole way as a user goes it: the gateway of a bundle, and a leaf's view of it."""
    chain = chain_with("missing-intermediate", "root-not-sent")
    (tmp_path / "served.pem").write_bytes(chain.sent_pem)
    (tmp_path / "root.pem").write_bytes(chain.trust_pem)
    files = ("--chain", tmp_path / "served.pem", "--trust", tmp_path / "root.pem", "--name", NAME)
    saved = leafgate("diagnose", *files, "--save", tmp_path / "failure.zip")
    assert saved.returncode == 1
    inner = (
        "sh",
        "-c",
        'openssl verify -partial_chain -CAfile "$IOTEDGE_ROOT_CA_CERT_PATH" "$IOTEDGE_ROOT_CA_CERT_PATH"',
    )
    up = leafgate(
        "up", "--imitate", tmp_path / "failure.zip", "--mqtt-port", "0", "--state", tmp_path / "s", "--", *inner
    )
    assert (up.returncode, up.stderr) == (0, "")
    kept = layout.load(tmp_path / "s")
    assert found(kept)[0] == "C1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--imitate", "a.pem", "--iotedge-config", "c.toml"),
            "--iotedge-config and --imitate each give the device CA",
        ),
        (("--imitate", "a.pem", "--scenario", "tls/x"), "--imitate and --scenario each give the device CA"),
        (("--iotedge-config", "c.toml", "--device-ca-cn", "x"), "--iotedge-config and --device-ca-cn each give"),
        (("--at", "2026-01-01"), "--at is for a chain that is imitated"),
        (("--config-root", "/tmp"), "--config-root is for a configuration"),
        (("--trust-bundle", "t.pem"), "--trust-bundle is for certificates of yours"),
    ],
)
def test_options_that_contradict_are_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and which of them."""
    done = inside(capsys, "up", *arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no certificate in it"),
        (b"\x30\x82\x01\x00", "it is DER, not PEM"),
        (b"PK\x03\x04", "it is no zip file that can be read"),
        (b"-----BEGIN PRIVATE KEY-----", "it has a private key and no certificate"),
    ],
)
def test_file_that_cannot_be_imitated_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """What it is instead."""
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(CannotPlayError, match=words):
        source(imitate=path)
