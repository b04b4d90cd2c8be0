"""Who refuses a chain, predicted from what is wrong with it, against what was measured."""

import pytest

from certs import GENERATIONS, Authority, CachedKeys
from certs.diagnose import problems
from certs.outcomes import MEASURED_STACKS, outcomes
from certs.prediction import predict
from certs.recipes import RECIPES, rebuild
from certs.rules import RULES

#: rows whose verdict is not about certificates
NOT_CERTIFICATES = {name for name, row in outcomes().items() if row.group == "proto" or row.server_refuses}

#: the headline that each row has to get where a stack refuses it for its certificates
HEADLINES = {
    "aki-mismatch": "C4", "aki-serial-mismatch": "C4", "bad-sig-noids": "C3",
    "cn-70-cnonly": "N3", "cn-only": "N3", "cn-only-case": "N3", "cn-only-cert-mixed": "N3",
    "devca-ca-false": "A1", "devca-ca-false-kuok": "A1", "devca-no-bc": "A1", "devca-no-bc-kuok": "A1",
    "devca-no-certsign": "A2", "devca-replaced": "C3", "dup-cert": "C2", "dup-serial-same-issuer": "C2",
    "dup-serials": "W2", "expired-devca": "E1", "expired-inter": "E1", "expired-root-notsent": "E1",
    "expired-srv": "E1", "expired-wl": "E1", "host-mismatch": "N4", "host-short-vs-fqdn": "N4", "idn-a-a": "N5",
    "idn-u-cn": "N5", "ip-as-dnssan": "N1", "ip-cn-only": "N1", "ip-no-ipsan": "N1", "leaf-only": "C1",
    "long-10": "W3", "long-15": "W3", "loop-1.0.3-devca-trusted": "T4", "loop-1.0.3-nobc": "L1",
    "loop-1.0.3-rdn-inherited": "N3", "loop-hist-1.0.3": "N3", "loop-hist-1.0.4": "W4", "loop-hist-1.2": "L6",
    "loop-hist-1.2-noski": "L5", "loop-hist-1.2-noski-rdn": "W4", "loop-hist-1.2-serial0": "L4",
    "loop-hist-1.2-serial0-rdn": "W2", "loop-hist-1.2-serial0-rootsent": "L4", "loop-inter-cn-noids": "L1",
    "loop-leaf-last-noids": "L1", "loop-root-cn-noids": "W4", "loop-wl-cn": "L7", "loop-wl-cn-noids": "L7",
    "miss-inter": "C1", "miss-wl": "C1", "nc-cnonly": "A5", "nc-ok": "A5", "nc-violation": "A5",
    "notyet-root": "E2", "notyet-srv": "E2", "notyet-wl": "E2", "ok-hist-1.2-noski": "W4",
    "ok-hist-1.2-serial0": "W2", "ok-iotedge-1.0.3": "W4", "order-reversed": "C2", "order-shuffled": "C2",
    "pathlen-inter0": "A3", "pathlen-root1": "A3", "quickstart-untrusted": "T5", "root-renewed-samekey": "T3",
    "rsa1024-devca": "W1", "rsa1024-srv": "W1", "san-only": "W4", "selfsigned-srv-trusted": "T1",
    "selfsigned-srv-untrusted": "T1", "sha1-devca": "W1", "sha1-srv": "W1", "srv-eku-client": "A4", "srv-is-ca": "A1",
    "stale-root-samename": "T2", "stale-root-samename-noroot": "T2", "trailing-dot-cert": "N5",
    "trust-devca-only": "T4", "trust-inter-only": "T4", "trust-srv-pinned": "T4", "underscore": "N5",
    "wildcard-cn": "N3", "wildcard-tld": "N5", "wl-eku-client": "A4", "wrong-root": "T1",
}  # fmt: skip
#: the generated loops: who signed, which identifiers, key usage
LOOPS = {
    ("fulldn", "direct", "aki"): "L6", ("fulldn", "direct", "devcanoski"): "L5", ("fulldn", "direct", "noids"): "L4",
    ("fulldn", "direct", "skionly"): "L4", ("fulldn", "wl", "devcanoski"): "W4", ("fulldn", "wl", "noids"): "L1",
    ("fulldn", "wl", "skionly"): "L1",
}  # fmt: skip


def expected(name):
    """The rule that a row's headline has to have; None when nobody refuses the row."""
    if name in HEADLINES:
        return HEADLINES[name]
    if name.startswith(("loop-fulldn-", "loop-cnonly-")) and outcomes()[name].refused:
        _, subject, where, ids, usage, *_ = name.split("-")
        if subject == "cnonly" or (where, ids, usage) == ("wl", "noids", "ku"):
            return "W4"
        return LOOPS[subject, where, ids]
    return None


def diagnosed(name):
    """What is wrong with a row's chain, the headline first."""
    row, chain = outcomes()[name], rebuild(name)
    return problems(chain.sent, name=row.asked, trust=chain.trust)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - NOT_CERTIFICATES))
def test_every_stack_is_predicted_as_it_was_measured(name):
    """3,666 answers of 26 stacks follow from the findings, without an exception."""
    row, predicted = outcomes()[name], predict(diagnosed(name))
    assert {key for key, one in predicted.items() if not one.ok} == set(row.refused)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - NOT_CERTIFICATES))
def test_headline_names_the_cause(name):
    """The first finding is the rule that the row is about, and there is none where every stack connects."""
    row, found = outcomes()[name], diagnosed(name)
    if not row.refused:
        assert all(problem.severity == "note" for problem in found) or found[0].rule == expected(name)
        assert expected(name) is None
    else:
        assert found[0].rule == expected(name)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - NOT_CERTIFICATES))
def test_error_means_that_openssl_refuses(name):
    """The severity tells leaves on OpenSSL 3 from all others."""
    errors = [problem for problem in diagnosed(name) if problem.severity == "error"]
    assert bool(errors) is not outcomes()[name].of("python-ssl")


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("key", ["ec", "rsa2048"])
def test_sound_chain_of_each_generation_raises_no_false_alarm(generation, key):
    """No error, and a warning only for what strict verifiers and single stacks really refuse of that generation."""
    chain = Authority(hostname="gw.factory.test", generation=generation, key=key, keys=CachedKeys()).chain()
    found = problems(chain.sent, name="gw.factory.test", trust=chain.trust)
    assert not [problem for problem in found if problem.severity == "error"]
    assert {problem.rule for problem in found if problem.severity == "warning"} <= {"N3", "W2", "W4"}


def test_rules_refer_to_measured_chains_only():
    """A finding's example exists, and the stacks it is limited to are in it."""
    named = {problem.like: problem.only for name in set(RECIPES) - NOT_CERTIFICATES for problem in diagnosed(name)}
    for like, only in named.items():
        assert not like or set(only) <= set(outcomes()[like].refused)
    assert len(RULES) > 10


def test_prediction_carries_the_words_of_the_measured_stack():
    """What a stack is expected to say is what it said to the chain that is like this one."""
    predicted = predict(diagnosed("miss-inter"))
    assert set(predicted) == {stack.key for stack in MEASURED_STACKS.values()}
    assert predicted["node20-ossl3"].message.startswith("UNABLE_TO_GET_ISSUER_CERT_LOCALLY")
    assert predicted["node20-ossl3"].rule == "C1"
