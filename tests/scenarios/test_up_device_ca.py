"""`leafgate up` below a device CA that exists already."""

from __future__ import annotations

from pathlib import Path

import pytest

from certs import Authority, CachedKeys, Role
from leafsim import Device
from tests.scenarios.command import inside, leafgate, running
from tests.scenarios.test_up import connect_to, ready

YOURS = ("--device-ca-cert", "chain.pem", "--device-ca-key", "key.pem")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device-ca-key", "key.pem"), "go together"),
        (("--device-ca-cert", "chain.pem"), "go together"),
        (("--trust-bundle", "root.pem"), "--trust-bundle is for certificates of yours"),
        ((*YOURS, "--device-ca-cn", "x"), "--device-ca-cert and --device-ca-cn each give"),
        ((*YOURS, "--scenario", "tls/x"), "--device-ca-cert and --scenario each give"),
        ((*YOURS[:3], "pkcs11:object=a?pin-value=Geheim7"), "which token"),
    ],
)
def test_up_refuses_device_ca_options_that_contradict(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Certificate and key belong together, and nothing else makes a device CA then; a PIN is not repeated."""
    output = inside(capsys, "up", *arguments)
    assert (output.returncode, words in output.stderr) == (2, True)
    assert "Geheim7" not in output.stderr


def test_up_serves_below_a_device_ca_from_files(tmp_path: Path) -> None:
    """A leaf that trusts the root of the full-chain file connects; started again from its state it is the same."""
    factory = Authority(hostname="localhost", generation="1.5", keys=CachedKeys(), key="ec").chain()
    at = factory.levels.index(device_ca := factory.level(Role.DEVICE_CA))
    chain_file, key_file, root = (tmp_path / name for name in ("full-chain.pem", "key.pem", "root.pem"))
    root.write_bytes(factory.trust_pem)
    chain_file.write_bytes(b"".join(level.pem for level in factory.levels[at:]))
    key_file.write_bytes(device_ca.key_pem)
    given = ("--device-ca-cert", chain_file, "--device-ca-key", key_file)
    ready_file, state = tmp_path / "ready.json", tmp_path / "state"
    for options in (given, given, ()):
        with running("up", *options, "--mqtt-port", "0", "--state", state, "--ready-file", ready_file) as process:
            facts = ready(process, ready_file)
            text = facts["leaves"]["leaf-1"]
            with Device(text, trust=root, port=facts["mqtt_port"], connect_to=connect_to(facts)) as leaf:
                leaf.send({"n": 1})
        ready_file.unlink()
    key_file.write_bytes(factory.root.key_pem)
    other = leafgate("up", *given, "--mqtt-port", "0", "--state", state, "--", "true")
    assert (other.returncode, "not that of the chain kept" in other.stderr) == (3, True)
