"""Everything that can be wrong with a gateway's certificates, by name; one module per theme."""

from certs.defects import authorities, identifiers, keys, names, sending, trusting, validity
from certs.defects.catalogue import DEFECTS, Defect, apply_defects

__all__ = [
    "DEFECTS",
    "Defect",
    "apply_defects",
    "authorities",
    "identifiers",
    "keys",
    "names",
    "sending",
    "trusting",
    "validity",
]
