"""Certificates of an IoT Edge gateway: made as each product generation made them, broken on purpose, explained.

    chain = Authority(hostname="gw.factory.test").chain()
    broken = apply_defects(chain, ["missing-intermediate"])

Also here, as modules: `layout` (a chain in a folder), `inspect` (a chain in words), `capture` (what a port serves).
Knows no gateway, no device and no scenario. Names are imported on first use: the command line answers `--help` before
cryptography is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certs.authority import Authority as Authority
    from certs.chain import Chain as Chain
    from certs.chain import Level as Level
    from certs.chain import Role as Role
    from certs.chain import Template as Template
    from certs.defects import DEFECTS as DEFECTS
    from certs.defects import Defect as Defect
    from certs.defects import apply_defects as apply_defects
    from certs.errors import CaptureError as CaptureError
    from certs.errors import CertsError as CertsError
    from certs.errors import DeviceCaNameError as DeviceCaNameError
    from certs.findings import Problem as Problem
    from certs.hostname import NameNote as NameNote
    from certs.hostname import check_hostname as check_hostname
    from certs.keys import CachedKeys as CachedKeys
    from certs.keys import FreshKeys as FreshKeys
    from certs.keys import KeySource as KeySource
    from certs.keys import PrivateKey as PrivateKey
    from certs.keys import SeededKeys as SeededKeys
    from certs.loop import LoopWarning as LoopWarning
    from certs.loop import loop_warning as loop_warning
    from certs.ownership import transfer as transfer
    from certs.profiles import GENERATIONS as GENERATIONS
    from certs.rekey import other_root as other_root
    from certs.rekey import same_named_root as same_named_root
    from certs.x509io import load_certificate as load_certificate
    from certs.x509io import load_certificates as load_certificates
    from certs.x509io import serial_of as serial_of

#: module -> what is taken from it; no module bears the name of a function, or it would hide it
_HOMES = {
    "authority": ("Authority",),
    "chain": ("Chain", "Level", "Role", "Template"),
    "defects": ("DEFECTS", "Defect", "apply_defects"),
    "errors": ("CaptureError", "CertsError", "DeviceCaNameError"),
    "findings": ("Problem",),
    "hostname": ("NameNote", "check_hostname"),
    "keys": ("CachedKeys", "FreshKeys", "KeySource", "PrivateKey", "SeededKeys"),
    "loop": ("LoopWarning", "loop_warning"),
    "ownership": ("transfer",),
    "profiles": ("GENERATIONS",),
    "rekey": ("other_root", "same_named_root"),
    "x509io": ("load_certificate", "load_certificates", "serial_of"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DEFECTS",
    "GENERATIONS",
    "Authority",
    "CachedKeys",
    "CaptureError",
    "CertsError",
    "Chain",
    "Defect",
    "DeviceCaNameError",
    "FreshKeys",
    "KeySource",
    "Level",
    "LoopWarning",
    "NameNote",
    "PrivateKey",
    "Problem",
    "Role",
    "SeededKeys",
    "Template",
    "apply_defects",
    "check_hostname",
    "load_certificate",
    "load_certificates",
    "loop_warning",
    "other_root",
    "same_named_root",
    "serial_of",
    "transfer",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'certs' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"certs.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
