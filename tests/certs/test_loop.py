"""The common-name loop, era by era: what OpenSSL says, and what loop_warning foretells."""

import pytest

from certs import Authority, apply_defects
from certs.loop import loop_warning
from tests.certs.tls import ACCEPTED, Verdict, judge

HOST = "gw.iot.local"
SELF_SIGNED = Verdict(18, "self-signed certificate", "unknown_ca")
SELF_SIGNED_IN_CHAIN = Verdict(19, "self-signed certificate in certificate chain", "unknown_ca")


def looped(generation, device_ca_cn=HOST, defects=()):
    """A chain whose device CA is named like the gateway."""
    authority = Authority(hostname=HOST, generation=generation, device_ca_cn=device_ca_cn, allow_cn_loop=True, key="ec")
    return apply_defects(authority.chain(), defects)


@pytest.mark.parametrize(
    ("generation", "defects", "case", "verdict"),
    [
        ("1.0.3", [], "L1", ACCEPTED),
        ("1.0.4", [], "L2", ACCEPTED),
        ("1.1", [], "L3", ACCEPTED),
        ("documented", [], "L3", ACCEPTED),
        ("1.2", [], "L4", SELF_SIGNED),
        ("1.3", [], "L6", ACCEPTED),
        ("1.5", [], "L6", ACCEPTED),
        ("1.3", ["device-ca-without-ski"], "L5", SELF_SIGNED),
        ("1.3", ["no-key-ids"], "L4", SELF_SIGNED),
    ],
)
def test_loop_fails_only_where_the_measurement_says(generation, defects, case, verdict, tmp_path):
    """OpenSSL refuses the loop without workload CA and key identifiers only; the warning foretells its verify code."""
    chain = looped(generation, defects=defects)
    warning = loop_warning(chain)
    assert (warning.case, warning.verify_code) == (case, verdict.code)
    assert judge(chain, tmp_path) == verdict


@pytest.mark.parametrize(
    ("defects", "case", "verdict"), [([], "L7", ACCEPTED), (["no-key-ids"], "L7-no-ids", SELF_SIGNED_IN_CHAIN)]
)
def test_device_ca_named_like_the_workload_ca(defects, case, verdict, tmp_path):
    """The workload CA's own name makes a loop too, which fails without key identifiers."""
    chain = looped("1.1", device_ca_cn="iotedged workload ca", defects=defects)
    assert loop_warning(chain).case == case
    assert judge(chain, tmp_path) == verdict


@pytest.mark.parametrize(("generation", "case"), [("1.2", "name"), ("1.0.3", "L1")])
def test_loop_needs_the_whole_subject(generation, case, tmp_path):
    """Other parts of the subject break the loop, unless the daemon copies them from its issuer as up to 1.1."""
    chain = looped(generation, device_ca_cn=f"CN={HOST},O=Contoso,C=US")
    assert loop_warning(chain).case == case
    assert judge(chain, tmp_path) == ACCEPTED


@pytest.mark.parametrize("generation", ["documented", "1.2", "quickstart", "certgen"])
def test_chain_with_the_ca_suffix_has_no_loop(generation, tmp_path):
    """The .ca habit keeps every generation out of the loop."""
    chain = Authority(hostname=HOST, generation=generation, key="ec").chain()
    assert loop_warning(chain) is None
    assert judge(chain, tmp_path) == ACCEPTED


def test_warning_names_the_stacks_and_a_way_to_see_it():
    """Who refuses is told by name; where nobody does today, the generation that shows the failure is."""
    assert "Python" in loop_warning(looped("1.2")).message
    assert "--generation 1.2" in loop_warning(looped("documented")).hint
