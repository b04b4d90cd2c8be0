"""Who is let in, by which questions to the cloud, and what the log says of it."""

import pytest

from gateway.hub.identity import Identity
from gateway.hub.rules import Proof
from tests.gateway.hub.identities import KEY, NOW, World, device, thumbprint_device
from tests.gateway.packets import sas

OTHER = "AAAA"
UNKNOWN = "{} is not in the scope of this gateway"
WRONG_KEY = "the signature matches neither the primary nor the secondary key"


def proof(name="press", module=None, *, key=KEY, ttl=3600, host="hub.test"):
    """A token signed with `key`."""
    path = f"{host}/devices/{name}" + (f"/modules/{module}" if module else "")
    return Proof(Identity("hub.test", name, module, "1"), sas(path, key, NOW + ttl).encode(), ())


def ask(world, shown):
    """Have a proof judged; the list has the answer once there is one."""
    answers = []
    world.authenticator.authenticate(shown, answers.append)
    return answers


def test_known_device_is_let_in_without_a_question():
    """One line in the log, nobody asked."""
    world = World(device())
    assert ask(world, proof()) == [""]
    assert world.source.fetched == []
    assert world.log.take() == ["INFO Client press in device scope authenticated locally."]


def test_unknown_device_is_asked_for():
    """A child that is new since the scope was read is let in at once; the log says what the product says."""
    world = World(device("other"))
    world.source.put(device())
    assert ask(world, proof()) == [""]
    assert world.log.take() == [
        "INFO Unable to authenticate client press with cached service identity press (Found: False). "
        "Resyncing service identity...",
        "INFO Refreshing service identity for press",
        "INFO Client press in device scope authenticated locally.",
    ]


def test_device_out_of_scope_is_refused():
    """It is asked for, then the whole scope would be, which was read just now."""
    world = World(device("other"))
    assert ask(world, proof()) == [UNKNOWN.format("press")]
    assert world.log.take()[2:] == [
        "INFO Skipping cache refresh, waiting 120 seconds until refreshing again.",
        "INFO Client press in device scope not authenticated locally.",
    ]
    assert (world.source.fetched, world.source.listed) == (["press"], 1)


def test_whole_scope_is_read_for_a_stranger():
    """When that was not done within two minutes."""
    world = World(device("other"))
    world.elapse(120)
    ask(world, proof())
    assert world.source.listed == 2


def test_new_key_is_found_but_not_twice_in_two_minutes():
    """A failed check has the identity asked for again; the next failure within 120 s does not, by the product's rule.

    So a key that is changed twice within two minutes is refused until they are over.
    """
    world = World(device(keys=(OTHER,)))
    world.source.put(device())
    assert ask(world, proof()) == [""]
    world.source.put(device(keys=("BBBB",)))
    assert ask(world, proof(key="BBBB")) == [WRONG_KEY]
    lines = world.log.take()
    assert "INFO Skipping refresh for identity: press, waiting 120 seconds until refreshing again." in lines
    assert lines.count(f"WARNING Error authenticating token for press because {WRONG_KEY}") == 3
    world.elapse(120)
    assert ask(world, proof(key="BBBB")) == [""]


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (proof(ttl=-301), "the token has expired"),
        (proof()._replace(password=b"x"), "the token is not a SharedAccessSignature with sr, sig and se"),
    ],
)
def test_token_that_is_no_good_for_anybody_is_refused_without_a_question(shown, reason):
    """Expired or not readable: the product finds out while it reads the token."""
    world = World(device("other"))
    assert ask(world, shown) == [reason]
    assert world.source.fetched == []
    assert world.log.take() == [
        "INFO Error authenticating token for press because the token is expired or could not be parsed: " + reason,
        "INFO Credentials for client press are not valid.",
        "INFO Client press in device scope not authenticated locally.",
    ]


def test_stranger_waits_while_the_cloud_is_silent():
    """100 s, then the answer is no; an answer after that is not told again."""
    world = World(device("other"))
    world.source.mode = "silent"
    answers = ask(world, proof())
    world.elapse(99)
    assert answers == []
    world.elapse(1)
    assert answers == [UNKNOWN.format("press")]
    world.source.put(device())
    world.source.speak()
    assert answers == [UNKNOWN.format("press")]


def test_stranger_does_not_wait_twice():
    """When the one question has taken all of its time, the whole scope is not asked for as well."""
    world = World(device("other"))
    world.elapse(120)
    world.source.mode = "silent"
    answers = ask(world, proof())
    world.elapse(100)
    assert (answers, world.source.listed) == ([UNKNOWN.format("press")], 1)


def test_stranger_is_let_in_when_the_cloud_speaks_in_time():
    """By the answer to the one question, or by the whole scope."""
    world = World(device("other"))
    world.source.mode = "silent"
    answers = ask(world, proof())
    world.source.put(device())
    world.elapse(50)
    world.source.speak()
    assert answers == [""]


def test_stranger_is_found_by_the_whole_scope():
    """The single question says no, the whole scope, asked for after it, knows the identity."""
    world = World(device("other"))
    world.elapse(120)
    world.source.mode = "silent"
    answers = ask(world, proof())
    world.source.waiting.pop(0)()
    assert (answers, world.source.listed) == ([], 2)
    world.source.put(device())
    world.source.speak()
    assert answers == [""]


def test_known_device_is_let_in_while_the_cloud_is_silent():
    """It is judged by what is known here; one with a wrong key waits for news of it."""
    world = World(device())
    world.source.mode = "silent"
    assert ask(world, proof()) == [""]
    answers = ask(world, proof(key=OTHER))
    assert answers == []
    world.elapse(100)
    assert answers == [WRONG_KEY]


def test_module_may_use_its_devices_key():
    """Its own identity is judged and asked for first, then its device's; the log says so."""
    world = World(device("press", keys=(OTHER,)), device("press", "filter"))
    assert ask(world, proof(module="filter")) == [""]
    world.log.take()
    assert ask(world, proof(module="filter", key=OTHER)) == [""]
    assert world.log.take() == [
        f"WARNING Error authenticating token for press/filter because {WRONG_KEY}",
        "INFO Unable to authenticate client press/filter with cached service identity press/filter (Found: True). "
        "Resyncing service identity...",
        "INFO Refreshing service identity for press/filter",
        f"WARNING Error authenticating token for press/filter because {WRONG_KEY}",
        "INFO Unable to authenticate client press/filter with module credentials. "
        "Attempting to authenticate using device press credentials.",
        "INFO Client press/filter in device scope authenticated locally.",
    ]


def test_module_with_nobodys_key_is_refused_for_its_own_reason():
    """Both identities are asked for; the reason is the module's, or its device's if nobody knows the module."""
    world = World(device(), device("press", "filter"))
    assert ask(world, proof(module="filter", key=OTHER)) == [WRONG_KEY]
    assert world.source.fetched == ["press/filter", "press"]
    world = World(device(enabled=False))
    assert ask(world, proof(module="ghost")) == ["press is disabled"]
    world = World(device("other"))
    assert ask(world, proof(module="ghost")) == [UNKNOWN.format("press/ghost")]


def test_module_nobody_knows_is_let_in_with_its_devices_key():
    """The product judges the token by the device then, and never asks whether there is such a module."""
    assert ask(World(device()), proof(module="ghost")) == [""]


def test_certificate_of_a_module_never_leads_to_its_device():
    """Modules cannot authenticate with certificates; their device's identity is not tried."""
    world = World(thumbprint_device("AB"), thumbprint_device("AB", module="filter"))
    shown = Proof(Identity("h", "press", "filter", "1"), None, (b"garbage",))
    assert ask(world, shown) == ["modules cannot authenticate with a certificate"]
    assert world.source.fetched == ["press/filter"]


# -- modes -------------------------------------------------------------------------------------------------------------


def test_cloud_and_scope_asks_the_hub_about_strangers_only():
    """Whom the scope knows it judges alone; a token of somebody else goes to IoT Hub as it is."""
    world = World(device(), mode="cloud-and-scope")
    assert ask(world, proof(key=OTHER)) == [WRONG_KEY]
    assert world.source.checked == []
    assert ask(world, proof("leaf")) == [""]
    assert world.source.checked == [("leaf", proof("leaf").password.decode())]
    assert world.log.take()[-2:] == [
        "INFO Client leaf in device scope not authenticated locally.",
        "INFO Authenticated leaf with IotHub",
    ]
    world.source.good = False
    assert ask(world, proof("leaf")) == ["IoT Hub refuses the token"]
    assert world.log.take()[-1] == "WARNING Error validating token for leaf with IoTHub"


def test_cloud_judges_everybody():
    """The scope is not asked, and certificates, which only the scope judges, are refused."""
    world = World(device(), mode="cloud")
    assert ask(world, proof(key=OTHER)) == [""]
    assert world.source.checked == [("press", proof(key=OTHER).password.decode())]
    certificate = Proof(Identity("h", "press", None, "1"), None, (b"garbage",))
    assert ask(world, certificate)[0].startswith("certificates are judged by the device scope")


@pytest.mark.parametrize("mode", ["cloud", "cloud-and-scope"])
def test_hub_that_does_not_answer_is_given_up(mode):
    """After 20 s; one that cannot be reached at once."""
    world = World(device(), mode=mode)
    world.source.mode = "unreachable"
    assert ask(world, proof("leaf")) == ["IoT Hub cannot be asked about the token"]
    if mode == "cloud":
        world.source.mode = "silent"
        answers = ask(world, proof("leaf"))
        world.elapse(19.9)
        assert answers == []
        world.elapse(0.1)
        assert answers == ["IoT Hub cannot be asked about the token"]
        world.source.speak()
        assert len(answers) == 1


def test_certificate_of_a_stranger_is_not_the_hubs_business():
    """CloudAndScope falls back for tokens alone."""
    world = World(device(), mode="cloud-and-scope")
    shown = Proof(Identity("h", "leaf", None, "1"), None, (b"garbage",))
    assert ask(world, shown) == [UNKNOWN.format("leaf")]
    assert world.source.checked == []


# -- again, while connected --------------------------------------------------------------------------------------------


def test_connected_client_is_judged_by_what_is_known():
    """Good, expired, another key, disabled, gone: nobody is asked for any of it."""
    world = World(device(), device("off", enabled=False), device("rekeyed", keys=(OTHER,)))
    again = world.authenticator.reauthenticate
    assert again(proof()) == ""
    assert again(proof("off")) == "off is disabled"
    assert again(proof("rekeyed")) == WRONG_KEY
    assert again(proof("gone")) == UNKNOWN.format("gone")
    world.now += 3600 + 300
    assert again(proof()) == ""
    world.now += 0.001
    assert again(proof()) == "the token has expired"
    assert (world.source.fetched, world.source.listed, world.source.checked) == ([], 1, [])


def test_connected_module_is_judged_by_its_device_too():
    """As when it connected."""
    world = World(device(keys=(OTHER,)), device("press", "filter"))
    again = world.authenticator.reauthenticate
    assert again(proof(module="filter", key=OTHER)) == ""
    assert again(proof(module="filter", key="BBBB")) == WRONG_KEY


@pytest.mark.parametrize("mode", ["cloud", "cloud-and-scope"])
def test_connected_stranger_of_the_hub_stays_until_its_token_expires(mode):
    """Whom IoT Hub let in is judged by the time of its token alone."""
    world = World(mode=mode)
    again = world.authenticator.reauthenticate
    assert again(proof("leaf", key=OTHER)) == ""
    assert again(proof("leaf", ttl=-301)) == "the token has expired"
    assert world.source.checked == []
