"""Names in certificates: the project's own judgement against OpenSSL's."""

import pytest
from cryptography import x509

from certs import Authority, Role
from certs.hostname import case_note, check_hostname, matches
from tests.certs.tls import judge


def with_names(names, hostname="gw.test"):
    """A chain whose server certificate has exactly these DNS names."""
    san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    chain = Authority(hostname=hostname, ip_san=["10.0.0.1"]).chain()
    return chain.reissue(Role.SERVER, lambda old: old.with_extension(san)) if names else chain


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (["gw.iot.test"], "gw.iot.test", True),
        (["gw.iot.test"], "GW.IOT.Test", True),
        (["GW.iot.test"], "gw.iot.test", True),
        (["gw.iot.test"], "gw", False),
        (["edgehub"], "gw.test", False),
        (["*.iot.test"], "gw.iot.test", True),
        (["*.iot.test"], "a.gw.iot.test", False),
        (["*.test"], "gw.test", False),
        (["10.0.0.1"], "10.0.0.1", False),
        ([], "10.0.0.1", True),
        ([], "10.0.0.2", False),
    ],
)
def test_name_is_judged_as_openssl_judges_it(names, asked, expected, tmp_path):
    """Case does not decide, a common name does not count beside a dNSName, an address needs an iPAddress."""
    chain = with_names(names)
    assert matches(chain.server.certificate, asked) is expected
    assert (judge(chain, tmp_path, name=asked).code is None) is expected


def test_common_name_counts_without_a_san(tmp_path):
    """A certificate without subjectAltName is judged by its common name."""
    chain = Authority(hostname="gw.test", generation="1.0.3", key="ec").chain()
    assert matches(chain.server.certificate, "GW.test")
    assert not matches(chain.server.certificate, "other.test")
    assert judge(chain, tmp_path, name="GW.test").code is None


def test_changed_hostname_with_an_old_certificate_is_told():
    """Serving a saved chain under a new name says which name the certificate was made for and what to do."""
    note = check_hostname(Authority(hostname="old.test").chain(), "new.test")
    assert note.fails
    assert "old.test" in note.message
    assert "transfer" in note.fix


def test_case_difference_is_a_note_and_no_failure():
    """A name that differs in case only is worth a note; an equal one or another name is not."""
    chain = Authority(hostname="gw.test").chain()
    note = check_hostname(chain, "GW.test")
    assert not note.fails
    assert "lower case" in note.message
    assert check_hostname(chain, "gw.test") is None
    assert case_note(chain.server.certificate, "other.test") is None
