"""The TLS stacks that a leaf can be built on: one adapter per file, one answer shape.

outcome = STACKS["openssl"].probe(Target("127.0.0.1", 8883, "gw.factory.test", Path("root.pem")))
"""

from collections.abc import Mapping
from types import MappingProxyType

from leafsim.stacks.base import Outcome, Stack, StackMissing, Target
from leafsim.stacks.exact_match import ExactMatchStack
from leafsim.stacks.openssl import OpensslStack
from leafsim.stacks.paho import PahoStack
from leafsim.stacks.python import PythonStack

STACKS: Mapping[str, Stack] = MappingProxyType(
    {stack.name: stack for stack in (PythonStack(), PahoStack(), OpensslStack(), ExactMatchStack())}
)

__all__ = ["STACKS", "Outcome", "Stack", "StackMissing", "Target"]
