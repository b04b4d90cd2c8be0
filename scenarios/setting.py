"""The scene of a scenario: the gateway with its chain, and the leaves with what they hold.

Everything has a default; with all of them a leaf connects.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.config import Settings
from scenarios.fields import Duration, Strict, Text, known_word, one_or_many, text_only

Generation = Literal["documented", "1.0.3", "1.0.4", "1.1", "1.2", "1.3", "1.5", "quickstart", "certgen"]
KeyKind = Literal["ec", "ec384", "rsa2048", "rsa4096"]
TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
Sent = Literal["server", "workload-ca", "device-ca", "intermediate", "root"]
LiveStack = Literal["paho", "python", "openssl", "exact-match"]
MOST_INTERMEDIATES = 20
TRUST_WORDS = ("root", "system", "none", "other-root", "same-named-root", "device-ca", "intermediate")


def _defects() -> list[str]:
    from certs import DEFECTS  # noqa: PLC0415 - only a file with defects needs them

    return list(DEFECTS)


Defect = Annotated[str, known_word("defect", _defects)]


def _intermediates(value: object) -> object:
    is_list = isinstance(value, list) and len(value) <= MOST_INTERMEDIATES and all(isinstance(v, str) for v in value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_INTERMEDIATES
    if not (is_list or is_count):
        what = f"write how many (at most {MOST_INTERMEDIATES}), or a list of common names: [Contoso CA, Plant CA]"
        raise PydanticCustomError("intermediates", what)
    return value


Intermediates = Annotated[int | list[str], BeforeValidator(_intermediates, json_schema_input_type=int | list[str])]


Days = Annotated[int, Field(ge=1, le=36500)]


class GatewaySetting(Strict):
    """The gateway: its name, and how its certificates were made."""

    hostname: Text = Field(default="localhost", description="its `hostname`, the name in its certificate")
    generation: Annotated[Generation, BeforeValidator(text_only)] = Field(
        default="documented", description="product generation it is made as"
    )
    device_ca_cn: Text | None = Field(default=None, description="name of the device CA; default: hostname plus .ca")
    intermediates: Intermediates = Field(default=1, description="intermediate CAs: how many, or their common names")
    key: KeyKind | None = Field(default=None, description="keys of the chain; default: EC, or what the generation used")
    ip_san: Annotated[list[Text], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] = Field(
        default_factory=list, description="addresses that the server certificate names"
    )
    tls: Annotated[
        list[Annotated[TlsVersion, BeforeValidator(text_only)]],
        BeforeValidator(one_or_many, json_schema_input_type=TlsVersion | list[TlsVersion]),
    ] = Field(default_factory=list, description="TLS versions; default: those of the generation")
    defects: Annotated[list[Defect], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])] = Field(
        default_factory=list, description="named mistakes in the chain (`leafgate certs defects`)"
    )
    days: Days | None = Field(default=None, description="how long the CAs live in days, down to the device CA")
    device_ca_days: Days | None = Field(default=None, description="how long the device CA lives at most")
    serves: Literal["configured", "quickstart"] = Field(
        default="configured",
        description="`quickstart`: certificates that nobody configured are served, while leaves trust the configured",
    )
    settings: Settings = Field(
        default_factory=Settings, description="settings of Edge Hub by name: {track_device_state: false}"
    )
    time_to_live: Duration | None = Field(
        default=None, description="how long telemetry may wait for the upstream; default: for ever"
    )
    renewal: Literal["restart", "missed", "down", "loop"] = Field(
        default="restart", description="what Edge Hub does for a new server certificate when the old one ends"
    )
    send: list[Sent] | None = Field(default=None, description="what is sent, in this order; default: the generation's")

    @property
    def hub_settings(self) -> Settings:
        """The settings of its Edge Hub."""
        return self.settings.model_copy(update={"renewal": self.renewal})


class LeafSetting(Strict):
    """A leaf device: what it knows, trusts and runs on."""

    trust: Text = Field(default="root", description=f"{', '.join(TRUST_WORDS)}, or a PEM file beside this one")
    stack: LiveStack = Field(default="paho", description="TLS stack; only paho goes on to speak MQTT")
    gateway_host_name: Text | None = Field(default=None, description="GatewayHostName of its connection string")
    host_name: Text | None = Field(default=None, description="HostName of its connection string; default: the hub")
    device_id: Text | None = Field(default=None, description="DeviceId; default: the name of the leaf")
    module_id: Text | None = Field(default=None, description="ModuleId; default: none")
    client_id: Text | None = Field(default=None, description="MQTT client id; default: as the SDKs build it")
    username: Text | None = Field(default=None, description="MQTT user name; default: as the SDKs build it")
    x509: Literal["root", "other-root"] | None = Field(
        default=None, description="authenticates with a certificate issued below that root instead of with tokens"
    )
    key: Literal["own", "wrong"] = Field(default="own", description="the key that it signs its tokens with")
    sas: Literal["valid", "expired"] = Field(default="valid", description="`expired`: its token ran out an hour ago")

    @model_validator(mode="after")
    def _certificate_fits(self) -> LeafSetting:
        if self.x509 and (self.stack != "paho" or self.trust == "system" or self.module_id):
            raise PydanticCustomError("x509", "`x509` goes with a device on paho that has its trust in a file")
        return self


class Play(Strict):
    """Base of all steps."""

    @property
    def leaves(self) -> tuple[str, ...]:
        """The leaves that the step names."""
        return ()

    @property
    @abstractmethod
    def title(self) -> str:
        """The step in a few words."""
