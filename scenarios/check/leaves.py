"""The check of the leaf devices themselves: are they children of this gateway?"""

from __future__ import annotations

from scenarios.check.model import Fact, Looked, NotApplicable, Skip, check, error, warning
from scenarios.check.subject import Subject

_NAMED = 5  # in a message


@check("leaf-parent", "leaf devices are children of this gateway")
def leaf_parent(subject: Subject) -> Looked:
    """Each registered leaf hangs below the gateway, or it gets CONNACK 5 (AuthenticationMode Scope, since 1.1)."""
    if isinstance(subject.leaves, str):
        raise Skip(subject.leaves)
    if not subject.leaves:
        raise NotApplicable("no leaf device is registered")
    outside = [leaf.device_id for leaf in subject.leaves if not leaf.in_scope]
    disabled = [leaf.device_id for leaf in subject.leaves if leaf.in_scope and not leaf.enabled]
    yield Fact("leaves", len(subject.leaves))
    yield Fact("outside", outside)
    yield Fact("disabled", disabled)
    if outside:
        yield error(
            f"not below this gateway: {_some(outside)}; Edge Hub answers them with CONNACK 5, not authorised\n"
            "set this gateway as their parent device in IoT Hub (az iot hub device-identity parent set)"
        )
    if disabled:
        yield warning(f"disabled: {_some(disabled)}; Edge Hub answers them with CONNACK 5, not authorised\nenable them")


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
