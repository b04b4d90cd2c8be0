"""The TLS stacks that a scenario may speak of, and which of them are at hand.

A stack that leafsim has an adapter for is played; of the others this project knows what real handshakes gave when its
table was measured, and says "measured", never "seen".
"""

from __future__ import annotations

from certs.outcomes import MEASURED_STACKS


def stack_names() -> set[str]:
    """Every stack that a scenario may name."""
    from leafsim import STACKS  # noqa: PLC0415 - only a file that names stacks needs them

    return set(MEASURED_STACKS) | set(STACKS)


def measured_name(stack: str) -> str:
    """The stack with the version that was measured."""
    known = MEASURED_STACKS.get(stack)
    return known.title if known else stack
