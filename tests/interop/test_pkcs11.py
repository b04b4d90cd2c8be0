"""The device CA's key in a token, with SoftHSM: real signatures, real handshakes, everything that can go wrong."""

import asyncio
import json
import ssl
from contextlib import AsyncExitStack

import pytest

from certs import Authority, CachedKeys, CertsError, Role, layout
from certs.certgen import WorkingFolder
from certs.elsewhere import KeyNotHereError
from certs.existing import DeviceCa, below, check_device_ca_key, read_key, with_device_ca_key
from certs.files import read_certificates
from certs.keys import generate, key_pem
from certs.pkcs11 import PIN_VARIABLE, TokenError, token_key
from certs.pkcs11uri import parse
from gateway import ManualClock
from tests.certs.tls import ACCEPTED, judge
from tests.gateway.client import tls_context
from tests.gateway.conftest import running
from tests.interop.token import PIN, SoftHsm, private_parts
from tests.scenarios.command import leafgate

pytestmark = pytest.mark.interop

FULL_CHAIN = "certs/iot-edge-device-ca-gw-full-chain.cert.pem"
FACTORY = "create_edge_device_ca_certificate"


@pytest.fixture(scope="module")
def hsm(tmp_path_factory):
    """SoftHSM with a token `edge`, for all of this process."""
    with pytest.MonkeyPatch.context() as patch:
        hsm = SoftHsm(tmp_path_factory.mktemp("hsm"))
        for name, value in hsm.variables.items():
            patch.setenv(name, value)
        hsm.token("edge")
        hsm.library().reinitialize()  # it lists the tokens that were there when it was first used
        yield hsm


@pytest.fixture(autouse=True)
def pin(hsm, monkeypatch):
    """The PIN where it belongs."""
    monkeypatch.setenv(PIN_VARIABLE, PIN)


@pytest.fixture
def scripts(tmp_path):
    """A working folder of certGen.sh with root and intermediate."""
    folder = WorkingFolder(tmp_path / "factory", keys=CachedKeys(), environment={})
    folder.create_root_and_intermediate(algorithm="rsa2048")
    return folder


def made(scripts, name, kind="ec", token="edge"):
    """A device CA whose key was made in the token, as its owner hands it over."""
    text = f"pkcs11:token={token};object={name}"
    token_key(parse(text)).generate(kind)
    scripts.create(FACTORY, "gw", read_key(text))
    return DeviceCa.read(scripts.folder / FULL_CHAIN, text)


def chain_below(device_ca, **options):
    """The chain of a gateway."""
    options = {"hostname": "localhost", "keys": CachedKeys(), **options}
    return below(device_ca.certificates, device_ca.key, trust=device_ca.trust, **options)


@pytest.mark.parametrize("generation", ["1.1", "1.5"])
@pytest.mark.parametrize("kind", ["ec", "ec384", "rsa2048"])
def test_chain_signed_in_a_token_is_accepted(kind, generation, scripts, tmp_path):
    """Workload CA or server certificate are signed in the token, as is a device CA's request; OpenSSL accepts them."""
    device_ca = made(scripts, f"{generation}-{kind}", kind)
    chain = chain_below(device_ca, generation=generation)
    assert judge(chain, tmp_path) == ACCEPTED
    assert judge(chain, tmp_path, trust=Authority(root_cn="Other").chain().trust_pem).code in {19, 20}
    assert not (scripts.folder / "private" / "iot-edge-device-ca-gw.key.pem").exists()


def test_serial_number_0_and_sha1_are_signed_in_the_token_too(scripts, tmp_path):
    """What cryptography's builder refuses is signed again, by the token: IoT Edge 1.2's serial number, and SHA-1."""
    from dataclasses import replace

    for kind in ("ec", "rsa2048"):
        chain = chain_below(made(scripts, f"again-{kind}", kind), generation="1.2")
        assert chain.server.template.serial == 0
        assert judge(chain, tmp_path) == ACCEPTED
        weak = chain.reissue(Role.SERVER, lambda template: replace(template, sha1=True))
        assert judge(weak, tmp_path).code == 68  # CA signature digest algorithm too weak


@pytest.mark.parametrize("kind", ["ec", "rsa2048"])
def test_key_stays_in_the_token(kind, hsm, scripts, tmp_path):
    """A key that is known because it was imported is in no file: neither state folder nor the scripts' folder."""
    key = generate(kind)
    (tmp_path / "key.pem").write_bytes(key_pem(key))
    assert private_parts(key)[-1] in (tmp_path / "key.pem").read_bytes().replace(b"\n", b"")  # it would be found
    hsm.put("edge", f"known-{kind}", tmp_path / "key.pem")
    (tmp_path / "key.pem").unlink()
    text = f"pkcs11:token=edge;object=known-{kind}?pin-value={PIN}"
    scripts.create(FACTORY, "gw", read_key(text))
    chain = chain_below(DeviceCa.read(scripts.folder / FULL_CHAIN, text))
    layout.save(chain, tmp_path / "state")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 15
    for part in (*private_parts(key), PIN.encode()):
        assert [path for path in written if part in path.read_bytes().replace(b"\n", b"")] == []
    assert [path.name for path in (tmp_path / "state").rglob("*.key.pem")] == ["0-server.key.pem"]


def test_key_made_in_the_token_cannot_be_taken_out(hsm, scripts):
    """The token says so, and every way to ask for it in Python is refused."""
    import pkcs11

    device_ca = made(scripts, "sealed", "rsa2048")
    token = hsm.library().get_token(token_label="edge")
    with token.open(user_pin=PIN) as session:
        key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label="sealed")
        assert (key[pkcs11.Attribute.SENSITIVE], key[pkcs11.Attribute.EXTRACTABLE]) == (True, False)
        with pytest.raises(pkcs11.AttributeSensitive):
            _ = key[pkcs11.Attribute.PRIVATE_EXPONENT]
    with pytest.raises(KeyNotHereError, match="never leaves its token"):
        key_pem(device_ca.key)
    with pytest.raises(KeyNotHereError):
        device_ca.key.private_numbers()


def test_saved_chain_finds_its_key_again(scripts, tmp_path):
    """A state folder says where the key is, without the PIN; a gateway below it signs on, with the key given or not."""
    device_ca = made(scripts, "kept")
    layout.save(chain_below(device_ca), tmp_path / "state")
    kept = layout.load(tmp_path / "state")
    check_device_ca_key(kept)
    for chain in (kept, with_device_ca_key(kept, device_ca.key)):
        assert judge(chain.reissue(Role.SERVER, lambda template: template), tmp_path) == ACCEPTED


def test_certificate_of_another_key_is_refused(scripts, tmp_path):
    """Whether the key is another from the start, or another one in the token by now, it is said and nothing signed."""
    mine, other = made(scripts, "mine"), made(scripts, "other")
    with pytest.raises(CertsError) as caught:
        chain_below(DeviceCa(other.certificates, mine.key))
    assert caught.value.message == 'the key given is not the key of the device CA certificate, "gw.ca"'
    layout.save(chain_below(mine), tmp_path / "state")
    description = tmp_path / "state" / layout.FOLDER / "chain.json"
    description.write_text(description.read_text().replace("object=mine", "object=other"))
    kept = layout.load(tmp_path / "state")
    with pytest.raises(CertsError, match="object=other is not the certificate's: its signature does not fit"):
        check_device_ca_key(kept)
    with pytest.raises(CertsError, match="does not fit"):
        kept.reissue(Role.SERVER, lambda template: template)


async def test_two_gateways_use_one_token(scripts):
    """They start, are connected to and renew their certificates at the same time."""
    chains = [chain_below(made(scripts, f"two-{kind}", kind)) for kind in ("ec", "rsa2048")]
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(running(one, tls_context(one), clock=ManualClock())) for one in chains]
        before = [hub.gateway.chain.server.certificate for hub in both]
        for _ in range(3):
            await asyncio.gather(*(hub.gateway.restart() for hub in both))
        for hub, old in zip(both, before, strict=True):
            assert hub.gateway.chain.server.certificate != old
            await hub.join()
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            await both[0].dial(context=tls_context(Authority(root_cn="Other").chain()))
        assert refused.value.verify_code == 20


async def test_token_removed_while_running_keeps_edge_hub_down_until_it_is_back(hsm, scripts, tmp_path):
    """The renewal needs the token: without it Edge Hub stays down and it is said why; with it, it comes up again."""
    folder = hsm.token("loose")
    hsm.library().reinitialize()  # it lists the tokens that were there when it was first used
    chain = chain_below(made(scripts, "loose", token="loose"))
    async with running(chain, tls_context(chain), clock=ManualClock()) as hub:
        folder.rename(tmp_path / "drawer")
        with pytest.raises(TokenError) as caught:
            await hub.gateway.restart()
        assert caught.value.message == "token 'loose' is gone or does not answer"
        assert "put the token back" in caught.value.hint
        assert hub.gateway.life.down
        (tmp_path / "drawer").rename(folder)
        await hub.gateway.restart()
        await hub.join()


@pytest.mark.parametrize(
    ("uri", "reason", "message", "hint"),
    [
        ("token=none;object=errors", "NoSuchToken", "no token of", "'edge' (serial"),
        ("token=edge;object=none", "NoSuchKey", "no private key fits", "errors"),
        ("token=edge;id=%00%01", "NoSuchKey", "no private key fits", "errors"),
        ("token=edge", "MultipleObjectsReturned", "private keys fit", ";id="),
        ("token=edge;object=curve", "KeyTypeInconsistent", "is a key of type secp521r1", "P-256"),
        ("token=edge;object=errors?pin-value=1", "PinIncorrect", "the PIN of token 'edge' is wrong", "lock"),
        ("token=edge;object=errors?module-path=/none.so", "PKCS11Error", "cannot be loaded", "SoftHSM's is"),
        ("token=edge;object=errors?module-path=/dev/null", "PKCS11Error", "cannot be loaded", "SoftHSM's is"),
    ],
)
@pytest.mark.usefixtures("errors")
def test_what_goes_wrong_is_said_in_one_line(uri, reason, message, hint):
    """Library, token, key, PIN: which of them it is, and what to do."""
    with pytest.raises(TokenError) as caught:
        read_key(f"pkcs11:{uri}")
    assert caught.value.reason == reason
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.message


@pytest.fixture
def errors(hsm, tmp_path):
    """A token with a good key and one on a curve that IoT Edge does not use."""
    import pkcs11
    from cryptography.hazmat.primitives.asymmetric import ec

    with hsm.library().get_token(token_label="edge").open(user_pin=PIN) as session:
        labels = {one.label for one in session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})}
    if "errors" not in labels:
        token_key(parse("pkcs11:token=edge;object=errors")).generate("ec")
        (tmp_path / "521.pem").write_bytes(key_pem(ec.generate_private_key(ec.SECP521R1())))
        hsm.put("edge", "curve", tmp_path / "521.pem")


@pytest.mark.usefixtures("errors")
def test_without_a_pin_it_is_said_that_one_is_needed(monkeypatch):
    """A token shows no private key to who has not logged in, so the PIN is what is missing."""
    monkeypatch.delenv(PIN_VARIABLE)
    with pytest.raises(TokenError) as caught:
        read_key("pkcs11:token=edge;object=errors")
    assert (caught.value.reason, PIN_VARIABLE in caught.value.hint) == ("NoSuchKey", True)


@pytest.mark.usefixtures("errors")
def test_wrong_pin_is_not_tried_again(monkeypatch):
    """Each try counts for a token that locks itself: the answer is remembered, whatever the PIN is afterwards."""
    holder = token_key(parse("pkcs11:token=edge;object=errors"))
    monkeypatch.setenv(PIN_VARIABLE, "wrong")
    with pytest.raises(TokenError, match="is wrong") as first:
        holder.public_key()
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    with pytest.raises(TokenError) as second:
        holder.public_key()
    assert second.value is first.value
    assert token_key(holder.uri).public_key()


@pytest.mark.usefixtures("errors")
def test_existing_key_is_not_made_again():
    """A key pair is made once; --generate does not put a second one beside it."""
    with pytest.raises(TokenError, match="exists already"):
        token_key(parse("pkcs11:token=edge;object=errors")).generate("ec")


def test_commands_of_the_documentation(hsm, tmp_path):
    """Key and certificate are made, `up` signs with them, and again from its state folder; the PIN shows nowhere."""
    uri, folder, state = "pkcs11:token=edge;object=documented", tmp_path / "demo", tmp_path / "state"
    variables = {**hsm.variables, PIN_VARIABLE: PIN}
    given = ("--device-ca-cert", folder / FULL_CHAIN, "--device-ca-key", uri)
    run = ("--mqtt-port", "0", "--state", state, "--", "env")
    leafgate("certs", "create_root_and_intermediate", "--dir", folder, "--key", "rsa2048")
    outputs = [
        leafgate("certs", FACTORY, "gw", "--dir", folder, "--key", uri, "--generate", "ec", env=variables),
        leafgate("up", *given, *run, env=variables),
        leafgate("up", *given, *run, env=variables),
        leafgate("up", *run, env=variables),
    ]
    assert [output.returncode for output in outputs] == [0, 0, 0, 0], outputs
    assert "LEAFGATE_READY" in outputs[1].stdout
    assert PIN not in "".join(output.stdout + output.stderr for output in outputs)
    assert json.loads((state / "chain" / "chain.json").read_text())["elsewhere"]["2-device-ca"]["uri"] == uri
    wrong = leafgate("up", *run, env={**variables, PIN_VARIABLE: "Geheim7"})
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (3, "leafgate: the PIN of token 'edge' is wrong")
    assert "Geheim7" not in wrong.stdout + wrong.stderr
    assert read_certificates(state / "root.pem") == read_certificates(folder / FULL_CHAIN)[-1:]
