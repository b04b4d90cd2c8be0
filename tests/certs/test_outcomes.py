from certs.outcomes import MEASURED_STACKS, outcomes


def test_every_measured_stack_is_named_and_every_name_was_measured():
    """The table and the list of its stacks are about the same 26."""
    keys = {key for row in outcomes().values() for key in (*row.refused, *row.connected)}
    assert keys == {stack.key for stack in MEASURED_STACKS.values()}
    assert len(keys) == 26


def test_row_tells_the_three_answers_apart():
    """A stack connected, refused with a message, or was not measured."""
    row = outcomes()["miss-inter"]
    assert row.of("python-ssl") is False
    assert "unable to get local issuer certificate" in row.refused["python-ssl"].message
    assert row.refused["python-ssl"].gateway_saw == "alert unknown_ca"
    assert outcomes()["ok-5level"].of("python-ssl") is True
    assert row.of("a stack of tomorrow") is None


def test_server_that_did_not_start_is_no_refusal_by_a_client():
    """A key that does not match its certificate keeps the server from starting; no stack has a verdict on it."""
    row = outcomes()["key-mismatch"]
    assert row.server_refuses
    assert "KEY_VALUES_MISMATCH" in row.server_refuses
    assert not row.refused
    assert not row.connected
