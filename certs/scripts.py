"""What the two convenience scripts call things: subcommands, file prefixes, subjects, profiles.

certGen.sh and ca-certs.ps1 (tools/CACertificates in the public Azure/iotedge repository) write the same folder; they
differ in the names of root and intermediate and in their keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from certs.chain import Role
from certs.profiles import (
    SCRIPT_DEVICE_CA,
    SCRIPT_IDENTITY,
    SCRIPT_INTERMEDIATE,
    SCRIPT_ROOT,
    SCRIPT_SERVER,
    CertProfile,
)

ROOT = "azure-iot-test-only.root.ca"
INTERMEDIATE = "azure-iot-test-only.intermediate"


@dataclass(frozen=True)
class Dialect:
    """One of the two scripts. `ca_key` and `end_key` by what `algorithmUsed.txt` says, "" when there is none."""

    root_cn: str
    intermediate_cn: str
    algorithm: str


BASH = Dialect(SCRIPT_ROOT, SCRIPT_INTERMEDIATE, "")
POWERSHELL = Dialect("Azure IoT CA TestOnly Root CA", "Azure IoT CA TestOnly Intermediate CA", "rsa")

#: algorithmUsed.txt -> keys of authorities, keys of everything else
ALGORITHMS: dict[str, tuple[str, str]] = {
    "": ("rsa4096", "rsa2048"),  # certGen.sh writes no such file
    "rsa": ("rsa4096", "rsa4096"),  # ca-certs.ps1: 4096 for all
    "ecc": ("secp256k1", "secp256k1"),  # ca-certs.ps1: openssl ecparam -name secp256k1
    "rsa2048": ("rsa2048", "rsa2048"),
    "rsa4096": ("rsa4096", "rsa4096"),
    "ec": ("ec", "ec"),
    "ec384": ("ec384", "ec384"),
}


@dataclass(frozen=True)
class Product:
    """One kind of certificate that the scripts make below root and intermediate."""

    prefix: str  # of its files; {} is the name given
    profile: CertProfile
    role: Role
    suffix: str = ""  # appended to the name given, for the common name
    signed_by: str = INTERMEDIATE


PRODUCTS: dict[str, Product] = {
    "create_device_certificate": Product("iot-device-{}", SCRIPT_IDENTITY, Role.DEVICE),
    "create_edge_device_certificate": Product("iot-edge-device-{}", SCRIPT_DEVICE_CA, Role.DEVICE_CA, ".ca"),
    "create_edge_device_ca_certificate": Product("iot-edge-device-ca-{}", SCRIPT_DEVICE_CA, Role.DEVICE_CA, ".ca"),
    "create_edge_device_identity_certificate": Product(
        "iot-edge-device-identity-{}", SCRIPT_IDENTITY, Role.EDGE_IDENTITY
    ),
    "create_edge_server_certificate": Product("iot-edge-server-{}", SCRIPT_SERVER, Role.SERVER),
    "create_verification_certificate": Product(
        "iot-device-verification-code", SCRIPT_IDENTITY, Role.VERIFICATION, signed_by=ROOT
    ),
}
