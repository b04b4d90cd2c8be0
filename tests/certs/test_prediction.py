"""Who refuses a chain, predicted from what is wrong with it, against what was measured."""

import pytest

from certs import GENERATIONS, Authority, CachedKeys
from certs.diagnose import problems
from certs.headlines import CAUSES, rule_of
from certs.outcomes import MEASURED_STACKS, outcomes
from certs.prediction import predict
from certs.recipes import RECIPES, rebuild
from certs.rules import RULES

#: rows whose verdict is not about certificates
NOT_CERTIFICATES = {name for name, row in outcomes().items() if row.group == "proto" or row.server_refuses}


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
        assert all(problem.severity == "note" for problem in found) or found[0].rule == rule_of(name)
        assert rule_of(name) is None
    else:
        assert found[0].rule == rule_of(name)


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


def test_every_rule_that_a_row_is_about_has_its_sentence():
    """So that an error message can be explained without building a chain."""
    assert {rule_of(name) for name in RECIPES} - {None} <= set(CAUSES)
