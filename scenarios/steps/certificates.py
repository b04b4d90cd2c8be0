"""`certificates: {...}`: the gateway's certificates are renewed, replaced, lost or configured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from certs.renewal import renew_device_ca, renew_server
from scenarios.fields import Strict, one_or_many
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage


class Order(Strict):
    """What happens to the certificates; one thing per step."""

    renew: Literal["server", "device-ca"] | None = Field(
        default=None, description="the daemon issues it anew, and Edge Hub restarts; only a quickstart's CA is its own"
    )
    replace: Literal["device-ca"] | None = Field(
        default=None, description="the owner configures a new one, with another key, by the same issuer"
    )
    applied: bool = Field(default=True, description="with `replace`; `false`: what the old one signed is still served")
    serve: Literal["configured", "quickstart"] | None = Field(
        default=None, description="the configured certificates are applied, or lost: then the daemon makes its own"
    )
    trust_bundle: (
        Annotated[
            list[Literal["root", "other-root"]],
            BeforeValidator(one_or_many, json_schema_input_type=str | list[str]),
        ]
        | None
    ) = Field(default=None, description="the roots below which devices' certificates are good; Edge Hub restarts")

    @model_validator(mode="after")
    def _one(self) -> Order:
        given = self.model_fields_set - {"applied"}
        if len(given) != 1:
            raise PydanticCustomError(
                "one", "name one of `renew`, `replace`, `serve` and `trust_bundle`; several are several steps"
            )
        if "applied" in self.model_fields_set and self.replace is None:
            raise PydanticCustomError("applied", "`applied` goes with `replace`")
        return self

    def __str__(self) -> str:
        """The order as one would write it."""
        word = next(iter(self.model_fields_set - {"applied"}))
        value = getattr(self, word)
        text = ", ".join(value) or "nothing" if isinstance(value, list) else value
        return f"{word.replace('_', ' ')} {text}{'' if self.applied else ', not applied'}"


class Certificates(Play):
    """The gateway's certificates change."""

    certificates: Order = Field(description="what happens to them")

    @property
    def title(self) -> str:
        """The step in a few words."""
        return f"certificates: {self.certificates}"

    async def play(self, stage: Stage) -> None:
        """Do it, and restart Edge Hub where the product does."""
        stage.timeline.add("gateway", f"certificates: {self.certificates}")
        await _DOING[next(iter(self.certificates.model_fields_set - {"applied"}))](stage, self.certificates)
        await stage.gateway.settled()


async def _renew(stage: Stage, order: Order) -> None:
    if order.renew == "server":
        await stage.gateway.restart()
    else:
        await stage.gateway.life.renew_ca()


async def _replace(stage: Stage, order: Order) -> None:
    if order.applied:
        await stage.gateway.restart(renew_device_ca)
    else:
        stage.gateway.reload(renew_device_ca(stage.gateway.chain, stage.hub_time, whole=False))


async def _serve(stage: Stage, order: Order) -> None:
    chain = stage.configured if order.serve == "configured" else await stage.quickstart()
    await stage.gateway.restart(lambda _, now: renew_server(chain, now))


async def _trust(stage: Stage, order: Order) -> None:
    roots = {"root": stage.configured.root.certificate, "other-root": stage.others.certificate}
    stage.gateway.trust_bundle = tuple(roots[word] for word in order.trust_bundle or ())
    await stage.gateway.restart()


_DOING: dict[str, Callable[[Stage, Order], Awaitable[None]]] = {
    "renew": _renew,
    "replace": _replace,
    "serve": _serve,
    "trust_bundle": _trust,
}
