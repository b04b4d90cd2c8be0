"""The TLS stacks that a leaf can be built on: one adapter per file, one answer shape.

outcome = STACKS["openssl"].probe(Target("127.0.0.1", 8883, "gw.factory.test", Path("root.pem")))
"""

from collections.abc import Mapping
from types import MappingProxyType

from leafsim.stacks.base import Outcome, Stack, StackMissing, Target
from leafsim.stacks.curl import CurlStack
from leafsim.stacks.exact_match import ExactMatchStack
from leafsim.stacks.gnutls import GnutlsStack
from leafsim.stacks.go import GoStack
from leafsim.stacks.java import JavaStack
from leafsim.stacks.mbedtls import MbedtlsStack
from leafsim.stacks.node import NodeStack, OldNodeStack
from leafsim.stacks.openssl import OpensslStack
from leafsim.stacks.paho import PahoStack
from leafsim.stacks.python import PythonStack

_ALL: tuple[Stack, ...] = (
    PythonStack(),
    PahoStack(),
    OpensslStack(),
    CurlStack(),
    NodeStack(),
    OldNodeStack("node12", "12"),
    OldNodeStack("node10", "10.0.0"),
    OldNodeStack("node8", "8"),
    GnutlsStack(),
    JavaStack(),
    GoStack(),
    MbedtlsStack(),
    ExactMatchStack(),
)
#: by short name, which is the one of `certs.outcomes.MEASURED_STACKS` where the stack was measured
STACKS: Mapping[str, Stack] = MappingProxyType({stack.name: stack for stack in _ALL})

__all__ = ["STACKS", "Outcome", "Stack", "StackMissing", "Target"]
