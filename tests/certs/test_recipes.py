"""Every chain of the measured table, built again, served, and held against what was measured."""

import re
import ssl

import pytest
from cryptography import x509

from certs import CertsError, Role
from certs.outcomes import outcomes
from certs.recipes import RECIPES, rebuild
from certs.x509io import serial_of

_VERSIONS = {"TLSv1": ssl.TLSVersion.TLSv1, "TLSv1_2": ssl.TLSVersion.TLSv1_2, "TLSv1_3": ssl.TLSVersion.TLSv1_3}
#: what the table calls the levels
NAMES = {
    Role.ROOT: "root",
    Role.INTERMEDIATE: "inter",
    Role.DEVICE_CA: "devca",
    Role.WORKLOAD_CA: "wl",
    Role.SERVER: "srv",
}
#: settled by the server's own configuration or by the port, which tests/interop/test_matrix.py plays
NOT_IN_MEMORY = {"plain-port", "mtls-required"}


def server_context(chain, settings, folder):
    """The TLS server of a row."""
    served = folder / "served.pem"
    served.write_bytes(chain.sent_pem + chain.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if settings.get("sec0"):
        context.set_ciphers("ALL:@SECLEVEL=0")
    if "ciphers" in settings:
        context.set_ciphers(settings["ciphers"])
    if "min" in settings:
        context.minimum_version, context.maximum_version = _VERSIONS[settings["min"]], _VERSIONS[settings["max"]]
    context.load_cert_chain(served)
    return context


def judge(chain, row, folder):
    """What Python's ssl says to the row's chain, and what the server notices of it."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.load_verify_locations(cadata=chain.trust_pem.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=row.asked)
    server = server_context(chain, row.server, folder).wrap_bio(to_server, to_client, server_side=True)
    said, noticed = "", ""
    for _ in range(6):
        said = said or step(client.do_handshake)[0]
        noticed = noticed or step(server.read if server.version() and said else server.do_handshake)[1]
    return said, noticed


def step(act):
    """Let one side go on: what it says when it ends, and the reason alone."""
    try:
        act()
    except ssl.SSLWantReadError:
        pass
    except ssl.SSLError as wrong:
        return f"{type(wrong).__name__}: {wrong}", (wrong.reason or "").lower()
    return "", ""


def same_words(got, measured):
    """Whether two messages agree, but for the place in CPython's source; the table cuts long ones off."""
    got, measured = (re.sub(r" \(_.*", "", text) for text in (got, measured))
    return got.startswith(measured)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(set(RECIPES) - NOT_IN_MEMORY))
def test_rebuilt_chain_gets_the_measured_verdict(name, tmp_path):
    """Python's ssl connects or refuses in the very words of the measurement, and the server gets the same alert."""
    row, chain = outcomes()[name], rebuild(name)
    if row.server_refuses:
        with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
            server_context(chain, row.server, tmp_path)
        return
    said, noticed = judge(chain, row, tmp_path)
    if row.of("python-ssl"):
        assert said == ""
        return
    measured = row.refused["python-ssl"]
    assert same_words(said, measured.message)
    if measured.gateway_saw != "reset":  # on a real socket an alert can be overtaken by the connection's end
        assert noticed.endswith(measured.gateway_saw.removeprefix("alert ").replace(" ", "_"))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_rebuilt_chain_serves_and_trusts_what_the_row_says(name):
    """The same levels in the same order; names with a digit are further certificates of that name."""
    row, chain = outcomes()[name], rebuild(name)
    assert len(chain.sent) == len(row.served)
    assert len(chain.trust) == len(row.trusted)
    by_name = {NAMES[level.role]: level.certificate for level in chain.levels if level.role in NAMES}
    for called, certificate in zip(row.served, chain.sent, strict=True):
        if called in by_name:
            assert certificate == by_name[called]
        else:
            assert called[0] in "iqsx" or certificate.subject.rfc4514_string()


def test_every_row_has_a_recipe_and_every_recipe_a_row():
    """Nothing is measured that cannot be built, and nothing built that was not measured."""
    assert set(RECIPES) == set(outcomes())


def test_unknown_row_is_told_with_a_way_on():
    """A typing error is no traceback."""
    with pytest.raises(CertsError) as refused:
        rebuild("miss-intre")
    assert "miss-intre" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("name", "same_subject", "authority_ids", "key_usage"),
    [
        ("loop-fulldn-direct-noids-ku", True, False, True),
        ("loop-fulldn-direct-aki-noku", True, True, False),
        ("loop-fulldn-wl-skionly-noku", True, False, False),
        ("loop-cnonly-direct-noids-noku", False, False, False),
        ("loop-cnonly-wl-aki-ku", False, True, True),
        ("loop-hist-1.0.3", True, False, False),
        ("loop-1.0.3-rdn-inherited", True, False, False),
        ("loop-hist-1.0.5", True, True, True),
        ("loop-hist-1.2", True, True, False),
        ("loop-hist-1.2-noski", True, False, False),
        ("loop-hist-1.2-noski-rdn", False, False, False),
    ],
)
def test_loop_is_made_as_its_name_says(name, same_subject, authority_ids, key_usage):
    """Whether the whole subject repeats, and what the server certificate has that tells it from the device CA."""
    chain = rebuild(name)
    server, device_ca = chain.server.certificate, chain.level(Role.DEVICE_CA).certificate
    kinds = {type(one.value) for one in server.extensions}
    assert (server.subject == device_ca.subject) is same_subject
    assert (x509.AuthorityKeyIdentifier in kinds) is authority_ids
    assert (x509.KeyUsage in kinds) is key_usage


def test_serials_and_signatures_are_as_the_rows_say():
    """What cryptography's builder refuses is in the certificates all the same."""
    assert serial_of(rebuild("loop-hist-1.2-serial0").server.certificate) == 0
    assert {serial_of(one) for one in rebuild("dup-serials").sent} == {1}
    assert rebuild("sha1-srv").server.certificate.signature_hash_algorithm.name == "sha1"
    assert rebuild("rsa1024-devca").level(Role.DEVICE_CA).certificate.public_key().key_size == 1024
    assert len(rebuild("cn-70").server.common_name) == 70
