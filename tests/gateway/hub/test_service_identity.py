"""An identity and its JSON."""

import pytest

from gateway.hub.service_identity import Authentication, ServiceIdentity, device_scope
from tests.gateway.hub.identities import KEY

FULL = ServiceIdentity(
    "press", "filter", Authentication.SELF_SIGNED, (KEY, "AAAA"), ("AB", "CD"), False, "61", False, None, ("s",)
)


@pytest.mark.parametrize(
    "identity",
    [ServiceIdentity("press"), FULL, ServiceIdentity("edge", edge=True, scope=device_scope("edge", "61"), keys=(KEY,))],
)
def test_identity_survives_its_json(identity):
    """Written and read again it is the same."""
    assert ServiceIdentity.from_json(identity.to_json()) == identity


def test_identity_is_written_as_iot_hub_writes_it():
    """The names of the identity JSON; a device has no moduleId."""
    assert FULL.to_json() == {
        "deviceId": "press",
        "moduleId": "filter",
        "generationId": "61",
        "status": "disabled",
        "authentication": {
            "type": "selfSigned",
            "symmetricKey": {"primaryKey": KEY, "secondaryKey": "AAAA"},
            "x509Thumbprint": {"primaryThumbprint": "AB", "secondaryThumbprint": "CD"},
        },
        "capabilities": {"iotEdge": False},
        "deviceScope": None,
        "parentScopes": ["s"],
    }
    assert "moduleId" not in ServiceIdentity("press").to_json()


def test_device_scope_names_device_and_generation():
    """ms-azure-iot-edge://{deviceId}-{generationId}."""
    assert device_scope("gw", "637") == "ms-azure-iot-edge://gw-637"


@pytest.mark.parametrize(
    "change",
    [{"deviceId": 1}, {"status": "asleep"}, {"authentication": None}, {"authentication": {"type": "x"}},
     {"capabilities": []}, {"parentScopes": [1]}],
)  # fmt: skip
def test_other_json_is_no_identity(change):
    """One of the errors that a reader of files expects."""
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        ServiceIdentity.from_json(FULL.to_json() | change)
