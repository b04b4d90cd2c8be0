"""Certificates issued once more, and chains moved in time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from certs import Authority, CertsError, Role, apply_defects, other_root, serial_of
from certs.errors import NoSuchLevelError
from certs.path import is_pointed_to
from certs.renewal import (
    earliest_expiry,
    identity_below,
    limit_device_ca,
    made_by_daemon,
    renew_device_ca,
    renew_server,
)
from certs.x509io import is_signed_by, public_key_id
from tests.certs.tls import ACCEPTED, judge

DAY = timedelta(days=1)
GENERATIONS = ["documented", "1.0.3", "1.0.4", "1.1", "1.2", "1.3", "1.5", "quickstart", "certgen"]


def now():
    """This second."""
    return datetime.now(UTC).replace(microsecond=0)


def chain_of(generation="1.5", **options):
    """A chain with quick keys."""
    return Authority(hostname="localhost", generation=generation, key="ec", **options).chain()


def keys(chain):
    """What tells its keys apart."""
    return [public_key_id(level.certificate) for level in chain.levels]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_shifted_chain_differs_in_its_dates_alone(generation):
    """Subjects, keys, serial numbers and extensions stay, each link holds, and back again it is the same."""
    chain = chain_of(generation)
    old = chain.shifted(-31 * 86_400)
    for was, now_ in zip(chain.levels, old.levels, strict=True):
        assert now_.template.not_before == was.template.not_before - 31 * DAY
        assert now_.template.not_after == was.template.not_after - 31 * DAY
        assert serial_of(now_.certificate) == serial_of(was.certificate)
        assert now_.certificate.subject == was.certificate.subject
        assert now_.template.extensions == was.template.extensions
    assert keys(old) == keys(chain)
    assert all(is_signed_by(below.certificate, above.certificate) for below, above in pairwise(old.levels))
    assert [one.subject for one in old.sent] == [one.subject for one in chain.sent]
    assert old.shifted(31 * 86_400).levels == chain.levels
    assert chain.shifted(0.2) is chain


@pytest.mark.parametrize(("days", "error"), [(-31, "certificate has expired"), (2, "certificate is not yet valid")])
def test_shifted_chain_is_refused_for_its_dates(days, error, tmp_path):
    """By a real handshake with the root's own file; and the chain as it is is taken."""
    chain = chain_of(days=365)
    assert judge(chain, tmp_path) == ACCEPTED
    assert judge(chain.shifted(days * 86_400), tmp_path, trust=chain.trust_pem).message == error


def test_chain_with_a_foreign_certificate_is_not_moved():
    """Nobody here can sign that one again; a foreign certificate that is only trusted stays as it is."""
    chain = chain_of()
    foreign = other_root(chain)
    with pytest.raises(CertsError, match="does not have the key of"):
        chain.sending([*chain.sent, foreign]).shifted(86_400)
    stale = apply_defects(chain, ["same-named-root"])
    assert stale.shifted(86_400).trust == stale.trust


@pytest.mark.parametrize("years", [-1_000, -100, 9_000])
def test_chain_is_not_moved_to_where_certificates_have_no_dates(years):
    """CertsError names the years that there are."""
    with pytest.raises(CertsError, match="cannot be dated"):
        chain_of().shifted(years * 365.25 * 86_400)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_renewed_server_has_a_new_key_and_the_lifetime_of_its_generation(generation):
    """Below the same issuer, which and whose own issuers stay byte for byte; names and extensions stay."""
    chain = chain_of(generation, days=365)
    moment = now() + 20 * DAY
    new = renew_server(chain, moment)
    assert new.levels[1:] == chain.levels[1:]
    assert keys(new)[0] != keys(chain)[0]
    assert new.server.template.not_before == moment - timedelta(seconds=1)
    days = (new.server.template.not_after - new.server.template.not_before) / DAY
    assert days == {"documented": 90, "1.0.3": 90, "1.0.4": 90, "1.1": 90}.get(generation, 30)
    assert new.sent[0] == new.server.certificate
    assert new.sent[1:] == chain.sent[1:]
    assert is_signed_by(new.server.certificate, chain.levels[1].certificate)
    assert is_pointed_to(new.server.certificate, chain.levels[1].certificate)
    assert serial_of(new.server.certificate) == 0 or serial_of(new.server.certificate) != serial_of(
        chain.server.certificate
    )
    kinds = {type(value) for value, _ in chain.server.template.extensions}
    assert {type(value) for value, _ in new.server.template.extensions} == kinds


def test_renewed_server_does_not_outlive_its_issuer():
    """Also one that has ended: the daemon does not look."""
    chain = chain_of()
    end = chain.levels[1].template.not_after
    assert renew_server(chain, now() + 20 * DAY).server.template.not_after == end
    assert renew_server(chain, now() + 40 * DAY).server.template.not_after == end


def test_renewals_of_a_seed_repeat_and_take_turns_with_two_keys():
    """The same bytes again, another key each time, and no third one, so that no cache of keys grows."""
    moment = now()

    def renew(times):
        chain = chain_of(seed=7)
        found = [keys(chain)[0]]
        for number in range(times):
            chain = renew_server(chain, moment + number * DAY)
            found.append(keys(chain)[0])
        return chain, found

    (one, found), (two, _) = renew(5), renew(5)
    assert one.sent_pem == two.sent_pem
    assert all(before != after for before, after in pairwise(found))
    assert len(set(found)) == 3


def test_mistakes_made_on_purpose_outlive_a_renewal_but_those_of_time(tmp_path):
    """A restart brings a new date, not another name."""
    chain = apply_defects(chain_of(), ["san-without-hostname", "expired-server"])
    new = renew_server(chain, now())
    assert new.server.template.not_after > now()
    assert judge(new, tmp_path).code == 62


@pytest.mark.parametrize("generation", ["documented", "1.1", "1.5", "quickstart"])
def test_renewed_device_ca_issues_all_that_is_below_it(generation, tmp_path):
    """With new keys; above it all stays. A self-signed one is the root that is trusted from now on."""
    chain = chain_of(generation)
    new = renew_device_ca(chain, now())
    device_ca = chain.levels.index(chain.level(Role.DEVICE_CA))
    assert new.levels[device_ca + 1 :] == chain.levels[device_ca + 1 :]
    assert not set(keys(new)[: device_ca + 1]) & set(keys(chain))
    assert new.level(Role.DEVICE_CA).common_name == chain.level(Role.DEVICE_CA).common_name
    assert judge(new, tmp_path) == ACCEPTED
    assert (new.trust == chain.trust) is (generation != "quickstart")
    assert made_by_daemon(new) is (generation == "quickstart")


def test_device_ca_with_its_old_key_still_vouches_for_what_it_signed():
    """rotate_key off: only the dates are new."""
    chain = chain_of("quickstart")
    new = renew_device_ca(chain, now() + DAY, rotate_key=False, whole=False)
    assert keys(new) == keys(chain)
    assert new.server is chain.server
    assert is_signed_by(new.server.certificate, new.levels[1].certificate)


def test_device_ca_alone_leaves_what_the_old_one_signed(tmp_path):
    """And a leaf refuses that; a generation without a device CA says so."""
    chain = chain_of("1.1")
    new = renew_device_ca(chain, now(), whole=False)
    assert new.levels[:2] == chain.levels[:2]
    assert judge(new, tmp_path).code == 20
    with pytest.raises(NoSuchLevelError):
        renew_device_ca(chain_of("certgen"), now())


def test_device_ca_can_be_limited(tmp_path):
    """So that it ends before the root does, and what is below it with it."""
    chain = limit_device_ca(chain_of("1.1", days=365), 7)
    ends = [round((level.template.not_after - now()) / DAY) for level in chain.levels]
    assert ends == [7, 7, 7, 365, 365]
    assert judge(chain, tmp_path) == ACCEPTED
    assert earliest_expiry(chain.sent) in [level.certificate for level in chain.levels[:3]]


def test_identity_below_an_authority_is_signed_by_it():
    """It has the device id as common name, and it is no server's."""
    chain = chain_of()
    identity = identity_below(chain, chain.level(Role.INTERMEDIATE), "press-7")
    assert identity.common_name == "press-7"
    assert is_signed_by(identity.certificate, chain.level(Role.INTERMEDIATE).certificate)
