"""Certificates of an IoT Edge gateway: made as each product generation made them, broken on purpose, explained.

    chain = Authority(hostname="gw.factory.test").chain()
    broken = apply_defects(chain, ["missing-intermediate"])

Knows no gateway, no device and no scenario.
"""

from certs.authority import Authority
from certs.chain import Chain, Level, Role, Template
from certs.defects import DEFECTS, Defect, apply_defects
from certs.errors import CertsError, DeviceCaNameError
from certs.hostname import check_hostname
from certs.keys import CachedKeys, FreshKeys, KeySource, PrivateKey, SeededKeys
from certs.loop import LoopWarning, loop_warning
from certs.profiles import GENERATIONS
from certs.rekey import other_root, same_named_root
from certs.transfer import transfer
from certs.x509io import load_certificate, load_certificates, serial_of

__all__ = [
    "DEFECTS",
    "GENERATIONS",
    "Authority",
    "CachedKeys",
    "CertsError",
    "Chain",
    "Defect",
    "DeviceCaNameError",
    "FreshKeys",
    "KeySource",
    "Level",
    "LoopWarning",
    "PrivateKey",
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
