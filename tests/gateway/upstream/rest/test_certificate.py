"""The certificate of the hub's server: whom a back end has to trust, and for which names."""

import asyncio
import ssl
from dataclasses import replace

import pytest

from certs import Authority, apply_defects
from certs.elsewhere import Owner, key_elsewhere
from gateway import Gateway
from gateway.upstream.rest.certificate import hub_certificate
from tests.gateway.upstream.rest.caller import Caller

NAMES = ("hub.leafgate.test", "localhost", "127.0.0.1")


async def shaken(port, trust, name, **versions):
    """The TLS version of a handshake with the hub's server."""
    context = ssl.create_default_context(cafile=str(trust))
    for option, version in versions.items():
        setattr(context, option, version)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return version


@pytest.mark.parametrize("name", NAMES)
async def test_gateways_root_is_all_that_has_to_be_trusted(hub, name):
    """root.pem, which leaves trust, is good for the hub's name, localhost and 127.0.0.1."""
    gateway = hub.gateway
    assert gateway.root_ca.read_bytes() == gateway.hub_root_ca.read_bytes()
    assert await shaken(gateway.hub_port, gateway.root_ca, name) == "TLSv1.3"


async def test_older_services_speak_tls_1_2(hub):
    """TLS 1.2 stays enabled; 1.1 is not."""
    port, root = hub.gateway.hub_port, hub.gateway.root_ca
    assert await shaken(port, root, "localhost", maximum_version=ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


async def test_other_name_is_refused_by_the_client(hub):
    """The certificate is for nobody else."""
    with pytest.raises(ssl.SSLCertVerificationError) as refusal:
        await shaken(hub.gateway.hub_port, hub.gateway.root_ca, "hub.elsewhere.test")
    assert refusal.value.verify_code == 62  # hostname mismatch


async def test_other_root_is_refused_by_the_client(hub, tmp_path):
    """The root of another gateway is good for nothing here."""
    other = tmp_path / "other.pem"
    other.write_bytes(Authority(hostname="localhost").chain().trust_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        await shaken(hub.gateway.hub_port, other, "localhost")


def of_a_customer(chain):
    """The chain as it is with a customer's device CA: the root's key is with its owner."""
    top = chain.root
    key = key_elsewhere(top.key.public_key(), Owner("the root"))
    return replace(chain, levels=(*chain.levels[:-1], replace(top, key=key)))


@pytest.mark.parametrize("case", ["customer", "expired-root", "not-yet-valid-root", "other-root-trusted"])
async def test_hub_has_a_root_of_its_own_where_the_gateways_cannot_sign(case, tmp_path):
    """No key of the root, or a root that is of no use: root.pem stays what leaves trust, hub-root.pem is another."""
    chain = Authority(hostname="localhost").chain()
    chain = of_a_customer(chain) if case == "customer" else apply_defects(chain, [case])
    async with Gateway(chain=chain, hub_port=0, state=tmp_path / "s") as gateway:
        assert gateway.root_ca.read_bytes() == chain.trust_pem
        assert gateway.hub_root_ca == tmp_path / "s" / "hub-root.pem"
        assert gateway.hub_root_ca.read_bytes() != gateway.root_ca.read_bytes()
        for name in NAMES:
            assert await shaken(gateway.hub_port, gateway.hub_root_ca, name) == "TLSv1.3"
        assert (await Caller(gateway)("GET", "/devices")).status == 200


@pytest.mark.parametrize(
    "generation", ["documented", "1.0.3", "1.0.4", "1.1", "1.2", "1.3", "1.5", "quickstart", "certgen"]
)
def test_every_generation_has_a_root_that_can_sign_for_the_hub(generation):
    """One file to trust, whatever the generation."""
    chain = Authority(hostname="localhost", generation=generation, key="ec").chain()
    made = hub_certificate(chain, "hub.leafgate.test", "127.0.0.1")
    assert (made.own_root, made.root) == (False, chain.trust_pem)


def test_key_is_in_no_repr():
    """Whoever prints the certificate does not print its key."""
    made = hub_certificate(Authority(hostname="localhost").chain(), "hub.leafgate.test", "127.0.0.1")
    assert b"PRIVATE KEY" in made.key
    assert "PRIVATE" not in repr(made)


def keys_in(folder):
    """The files below a folder that have a private key in them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if b"PRIVATE KEY" in path.read_bytes()]


async def test_no_key_of_the_hub_lies_in_the_folder(tmp_path):
    """The server's key is made at each start and kept in memory."""
    async with Gateway(hub_port=0, state=tmp_path / "s"):
        assert keys_in(tmp_path) == []


async def test_address_that_it_listens_on_is_in_the_certificate():
    """A gateway on another loopback address is reached by that address, too."""
    async with Gateway(hub_port=0, bind="127.0.0.2") as gateway:
        assert gateway.service_connection_string().startswith(f"HostName=127.0.0.2:{gateway.hub_port};")
        context = ssl.create_default_context(cafile=str(gateway.hub_root_ca))
        _, writer = await asyncio.open_connection("127.0.0.2", gateway.hub_port, ssl=context)
        writer.close()


async def test_rotated_root_leaves_the_hub_alone(hub, tmp_path):
    """A gateway that serves another chain has another root.pem; the hub's certificate and hub-root.pem stay."""
    before = hub.gateway.hub_root_ca.read_bytes()
    hub.gateway.reload(Authority(hostname="localhost").chain())
    assert hub.gateway.hub_root_ca.read_bytes() == before != hub.gateway.root_ca.read_bytes()
    assert await shaken(hub.gateway.hub_port, hub.gateway.hub_root_ca, "localhost") == "TLSv1.3"


async def test_gateways_name_is_the_hubs_too():
    """A container is reached by the name that leaves use: it is in the certificate, and good in Host and sr."""
    chain = Authority(hostname="gw.factory.test").chain()
    async with Gateway(chain=chain, hub_port=0) as gateway:
        assert await shaken(gateway.hub_port, gateway.root_ca, "gw.factory.test") == "TLSv1.3"
        call = Caller(gateway)
        auth = call.token(resource="gw.factory.test:8443")
        assert (await call("GET", "/devices", auth=auth, host="GW.factory.test:8443")).status == 200
