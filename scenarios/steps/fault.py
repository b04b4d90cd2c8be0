"""`fault: NAME`, `fault: {NAME: {...}}`, `fault: off`: something goes wrong at the gateway, or does no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from gateway.faults import FAULTS, Fault
from gateway.faults.catalogue import summary
from scenarios.fields import Strict, known_word, shorthand
from scenarios.setting import Play

if TYPE_CHECKING:
    from scenarios.stage import Stage

OFF = "off"
ALL = "all"
Ending = Annotated[str, known_word("fault", lambda: [*FAULTS, ALL])]


class SwitchBase(Strict):
    """One fault with its parameters, or what is switched off."""

    off: Ending | None = Field(default=None, description="the fault that ends, or `all`")

    @model_validator(mode="after")
    def _one(self) -> SwitchBase:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("one", "name one fault here, or `off`; several faults are several steps")
        return self

    @property
    def fault(self) -> Fault | None:
        """What is switched on."""
        return next((value for _, value in self if isinstance(value, Fault)), None)


def _field(kind: type[Fault]) -> Any:
    return kind | None, Field(default=None, alias=kind.name, description=summary(kind))


_FIELDS: dict[str, Any] = {name.replace("-", "_"): _field(kind) for name, kind in FAULTS.items()}
Switch = cast("type[SwitchBase]", create_model("Switch", __base__=SwitchBase, __doc__=SwitchBase.__doc__, **_FIELDS))


def _word(word: str) -> dict[str, Any]:
    return {OFF: ALL} if word == OFF else {word: {}}


class FaultStep(Play):
    """A fault is switched on or off."""

    fault: Annotated[Switch, shorthand(_word, str | Switch)] = Field(  # type: ignore[valid-type]
        description="a fault of `leafgate faults`, with its parameters or just its name; `off` ends all of them"
    )

    @property
    def title(self) -> str:
        """The step in a few words."""
        switch = cast(SwitchBase, self.fault)
        return f"fault {switch.fault}" if switch.fault else f"fault off: {switch.off}"

    async def play(self, stage: Stage) -> None:
        """Switch."""
        switch = cast(SwitchBase, self.fault)
        faults = stage.gateway.faults
        if switch.fault is not None:
            faults.add(switch.fault)
        for switched in faults.active if switch.fault is None else ():
            if switch.off in (ALL, switched.name):
                faults.remove(switched)
        stage.timeline.add("fault", str(switch.fault) if switch.fault else f"{switch.off} off")
