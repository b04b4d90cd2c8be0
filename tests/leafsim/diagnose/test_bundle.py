"""`leafgate diagnose --save`: what is in a bundle, what is not, and bundles that are broken."""

import datetime as dt
import io
import json
import random
import zipfile

import pytest

from certs import CertsError
from leafsim.diagnose import bundle
from leafsim.diagnose.examine import examine, examine_files
from tests.leafsim.conftest import KEY, NAME, STRING
from tests.scenarios.command import inside

MOMENT = dt.datetime(2026, 11, 24, 3, 4, 6, tzinfo=dt.UTC)


@pytest.fixture
def seen(chain, root, pem):
    """An examination of files."""
    return examine_files(pem(chain.sent_pem, "chain.pem"), name=NAME, trust=root)


@pytest.fixture
def saved(seen, tmp_path):
    """A bundle."""
    bundle.save(tmp_path / "b.zip", seen, captured=MOMENT, tls=("1.2", "1.3"))
    return tmp_path / "b.zip"


def changed(path, *, without=(), **content):
    """The bundle with files left out or in place of others."""
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist() if name not in without}
    files.update({name.replace("_", "."): data for name, data in content.items()})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in files.items():
            new.writestr(name, data)
    return path


def test_bundle_is_read_back_as_it_was(saved, seen, chain):
    """Certificates in their order, what is trusted, the report, the time and the TLS versions."""
    found = bundle.load(saved)
    assert found == bundle.Bundle(MOMENT, ("1.2", "1.3"), tuple(chain.sent), tuple(chain.trust), seen.report)
    assert bundle.is_bundle(saved)


def test_same_examination_gives_the_same_bytes(saved, seen, tmp_path):
    """Nothing of this machine is in it."""
    bundle.save(tmp_path / "again.zip", seen, captured=MOMENT, tls=("1.2", "1.3"))
    assert saved.read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_trust_that_is_not_known_is_left_out(chain, pem, tmp_path):
    """None and an empty trust bundle are not the same."""
    bundle.save(tmp_path / "b.zip", examine_files(pem(chain.sent_pem), name=NAME), captured=MOMENT)
    assert bundle.load(tmp_path / "b.zip").trusted is None


def test_earlier_bundle_is_moved_aside(saved, seen):
    """Nothing is lost."""
    before = saved.read_bytes()
    aside = bundle.save(saved, seen, captured=MOMENT)
    assert aside is not None
    assert aside.read_bytes() == before


def test_command_saves_what_was_served(serve, root, chain, tmp_path, capsys):
    """The versions of TLS are asked for one by one; the way to use it is said; no secret of the device is in it."""
    path = tmp_path / "b.zip"
    target = f"127.0.0.1:{serve().port}"
    done = inside(capsys, "diagnose", target, "--connection-string", STRING, "--trust", root, "--save", path)
    assert (done.returncode, f"leafgate up --imitate {path}" in done.stderr) == (0, True)
    found = bundle.load(path)
    assert (found.served, found.trusted, found.report.name) == (tuple(chain.sent), tuple(chain.trust), NAME)
    assert {"1.2", "1.3"} <= set(found.tls)
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert KEY.encode() not in content
    assert b"SharedAccess" not in content


def test_command_judges_files_for_their_time(chain, root, pem, tmp_path, capsys):
    """The moment that is judged is the moment of the bundle."""
    path = tmp_path / "b.zip"
    files = ("--chain", pem(chain.sent_pem, "chain.pem"), "--trust", root, "--name", NAME)
    inside(capsys, "diagnose", *files, "--at", "2026-11-24", "--save", path)
    assert bundle.load(path).captured == dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


def test_command_saves_nothing_of_whom_it_did_not_reach(serve, root, tmp_path, capsys):
    """It says so, and the exit code stays that of the diagnosis."""
    target = f"127.0.0.1:{serve(manner='plain').port}"
    done = inside(capsys, "diagnose", target, "--trust", root, "--save", tmp_path / "b.zip")
    assert (done.returncode, "nothing saved: no certificate was shown" in done.stderr) == (3, True)
    assert not (tmp_path / "b.zip").exists()


def test_save_needs_certificates(serve, root, tmp_path):
    """For those who call it from Python."""
    seen = examine(f"127.0.0.1:{serve(manner='slam').port}", trust=root, timeout=5)
    with pytest.raises(CertsError, match="nothing to save"):
        bundle.save(tmp_path / "b.zip", seen, captured=MOMENT)


def test_place_that_cannot_be_written_is_told(seen, tmp_path):
    """A clear error, no traceback."""
    with pytest.raises(CertsError, match="cannot be written"):
        bundle.save(tmp_path / "no" / "b.zip", seen, captured=MOMENT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"without": ["manifest.json"]}, "it has no manifest.json"),
        ({"without": ["chain.pem"]}, "it has no chain.pem"),
        ({"without": ["report.json"]}, "it has no report.json"),
        ({"manifest_json": b"{"}, "manifest.json is no JSON"),
        ({"manifest_json": b"[" * 100_000}, "manifest.json is no JSON"),
        ({"manifest_json": b"[]"}, "format None is not known here"),
        ({"manifest_json": b'{"version": 2}'}, "format 2 is not known here"),
        ({"manifest_json": b'{"version": 1, "captured": "yesterday"}'}, "manifest.json is wrong at captured"),
        ({"manifest_json": b'{"version": 1, "captured": "2026-01-01"}'}, "manifest.json is wrong at captured"),
        ({"manifest_json": b'{"version": 1, "captured": "2026-01-01T00:00Z", "tls": ["9"]}'}, "wrong at tls.0"),
        ({"chain_pem": b"hello"}, "chain.pem has no certificate"),
        ({"trust_pem": b""}, "trust.pem has no certificate"),
        (
            {"chain_pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
            "a certificate in chain.pem is damaged",
        ),
        ({"report_json": b'{"version": 1}'}, "report.json is not a report: target"),
        ({"chain_pem": bytes(bundle.MOST_BYTES + 1)}, "chain.pem is larger than 4 MiB"),
    ],
)
def test_broken_bundle_is_told(saved, change, words):
    """What is wrong, and how to get a better one."""
    with pytest.raises(CertsError, match=words):
        bundle.load(changed(saved, **change))


def test_file_that_came_with_it_is_ignored(saved, chain):
    """Somebody put a note beside; nothing is unpacked, so its name does not matter."""
    assert bundle.load(changed(saved, **{"../../note_txt": b"hello"})).served == tuple(chain.sent)


def test_bytes_changed_on_the_way_never_end_in_a_traceback(saved):
    """Every kind of damage is one clear error, or none where it does not matter."""
    original, chance = saved.read_bytes(), random.Random(7)
    for _ in range(300):
        damaged = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        saved.write_bytes(damaged)
        try:
            found = bundle.load(saved)
        except CertsError:
            continue
        assert found.served


def test_file_cut_off_is_told(saved):
    """A download that was broken off."""
    saved.write_bytes(saved.read_bytes()[:-30])
    with pytest.raises(CertsError, match="no zip file that can be read"):
        bundle.load(saved)


def test_bundle_holds_no_more_than_its_four_files(saved):
    """In the order of its description."""
    with zipfile.ZipFile(io.BytesIO(saved.read_bytes())) as archive:
        assert archive.namelist() == ["manifest.json", "chain.pem", "trust.pem", "report.json"]
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest == {"version": 1, "captured": "2026-11-24T03:04:06Z", "tls": ["1.2", "1.3"]}
