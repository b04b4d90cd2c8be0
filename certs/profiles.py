"""Which certificates each product generation makes, as a table.

Rule: TABLE is the only place that knows what a generation writes; authority.py only reads it. Sources are named beside
the rows: certGen.sh and openssl_root_ca.cnf (tools/CACertificates), edge_pki_openssl.c (the security daemon up to 1.1),
edgelet-http-workload and aziot-certd (1.2 and later), all in the public Azure/iotedge and iot-identity-service trees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from certs.chain import Role
from certs.errors import CertsError, UnknownGenerationError

SCRIPT_ROOT = "Azure_IoT_Hub_CA_Cert_Test_Only"  # certGen.sh today
SCRIPT_INTERMEDIATE = "Azure_IoT_Hub_Intermediate_Cert_Test_Only"
ARTICLE_ROOT = "Azure IoT Hub CA Cert Test Only"  # certGen.sh of 2018, the IoT Edge certificate article
ARTICLE_INTERMEDIATE = "Azure IoT Hub Intermediate Cert Test Only"
SCRIPT_DAYS = 30  # certGen.sh, DEFAULT_VALIDITY_DAYS
SCRIPT_FIRST_SERIAL = 0x1000  # certGen.sh: echo 1000 > serial

NS_CERT_TYPE = ObjectIdentifier("2.16.840.1.113730.1.1")
NS_COMMENT = ObjectIdentifier("2.16.840.1.113730.1.13")


class Serial(Enum):
    """How a certificate gets its serial number."""

    RANDOM = "random"
    COUNTER = "counter"  # openssl ca: counts up from 0x1000
    ZERO = "zero"  # never set by the product, so 0


class Ids(Enum):
    """Which key identifiers a certificate carries."""

    NONE = "none"
    KEY_ID = "keyid"  # SKI, and AKI with the issuer's key id when the issuer has one
    KEY_ID_AND_ISSUER = "keyid+issuer"  # SKI, and AKI with key id, issuer and serial


@dataclass(frozen=True)
class CertProfile:
    """One certificate of one generation; the authority fills in `{host}` and the like in `subject` and `san`."""

    role: Role
    subject: str
    key: str  # one of keys.KINDS: what the era used
    days: int | None  # None: as long as the issuer
    ca: bool | None = None  # None: no basicConstraints at all
    ca_critical: bool = False
    path_length: int | None = None
    key_usage: tuple[str, ...] = ()  # empty: no keyUsage
    extended_key_usage: tuple[ObjectIdentifier, ...] = ()
    san: tuple[str, ...] = ()  # empty: no subjectAltName
    ips_as_dns: bool = False  # an IP address as host name becomes a dNSName
    ids: Ids = Ids.NONE
    serial: Serial = Serial.RANDOM
    netscape: tuple[tuple[ObjectIdentifier, bytes], ...] = ()
    inherits_rdns: bool = False  # C, ST, L, O and OU are the issuer's


@dataclass(frozen=True)
class Generation:
    """The hierarchy of one product generation, root first, and what of it goes on the wire."""

    name: str
    summary: str
    root: CertProfile | None  # None: the device CA is self-signed (quickstart)
    intermediate: CertProfile | None
    device_ca: CertProfile | None  # None: the intermediate signs the server certificate (certGen.sh's own server)
    workload_ca: CertProfile | None
    server: CertProfile
    identity: CertProfile
    lower_case: bool  # the server certificate's names are the host name in lower case
    sends_root: bool
    default_key: str | None = None  # None: each profile's own

    def written_name(self, hostname: str) -> str:
        """Return the configured host name as the daemon writes it into the server certificate."""
        return hostname.lower() if self.lower_case else hostname


_CA_USAGE = ("digital_signature", "crl_sign", "key_cert_sign")
_SERVER_AUTH = (ExtendedKeyUsageOID.SERVER_AUTH,)

# --- openssl_root_ca.cnf: v3_ca, v3_intermediate_ca, usr_cert, server_cert ------------------------------------------
_SCRIPT_CA = CertProfile(
    Role.INTERMEDIATE,
    SCRIPT_INTERMEDIATE,
    "rsa4096",
    SCRIPT_DAYS,
    ca=True,
    ca_critical=True,
    key_usage=_CA_USAGE,
    ids=Ids.KEY_ID_AND_ISSUER,
    serial=Serial.COUNTER,
)
SCRIPT_ROOT_CA = replace(_SCRIPT_CA, role=Role.ROOT, subject=SCRIPT_ROOT, serial=Serial.RANDOM)
SCRIPT_INTERMEDIATE_CA = _SCRIPT_CA
SCRIPT_DEVICE_CA = replace(_SCRIPT_CA, role=Role.DEVICE_CA, subject="{device_ca}")
SCRIPT_IDENTITY = CertProfile(
    Role.DEVICE,
    "{id}",
    "rsa2048",
    SCRIPT_DAYS,
    ca=False,
    key_usage=("content_commitment", "digital_signature", "key_encipherment"),
    extended_key_usage=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION),
    ids=Ids.KEY_ID_AND_ISSUER,
    serial=Serial.RANDOM,
    netscape=(
        (NS_CERT_TYPE, b"\x03\x02\x05\xa0"),  # client, email
        (NS_COMMENT, b"\x16\x24OpenSSL Generated Client Certificate"),
    ),
)
SCRIPT_SERVER = CertProfile(
    Role.SERVER,
    "{host}",
    "rsa2048",
    SCRIPT_DAYS,
    ca=False,
    key_usage=("digital_signature", "key_encipherment"),
    extended_key_usage=_SERVER_AUTH,
    ids=Ids.KEY_ID_AND_ISSUER,
    serial=Serial.COUNTER,
    netscape=(
        (NS_CERT_TYPE, b"\x03\x02\x06\x40"),  # server
        (NS_COMMENT, b"\x16\x24OpenSSL Generated Server Certificate"),
    ),
)

# --- the security daemon up to 1.1: edge_pki_openssl.c --------------------------------------------------------------
_WORKLOAD_103 = CertProfile(
    Role.WORKLOAD_CA,
    "iotedge workload ca",
    "rsa4096",
    None,
    ca=True,
    ca_critical=True,
    path_length=0,
    inherits_rdns=True,
)
_SERVER_103 = CertProfile(Role.SERVER, "{host}", "rsa2048", 90, ca=False, inherits_rdns=True)
_WORKLOAD_104 = replace(_WORKLOAD_103, key_usage=("digital_signature", "key_cert_sign"))  # keyUsage since 1.0.4
_SERVER_104 = replace(
    _SERVER_103,
    key_usage=("content_commitment", "digital_signature", "key_encipherment", "data_encipherment", "key_agreement"),
    extended_key_usage=_SERVER_AUTH,
)
_WORKLOAD_11 = replace(_WORKLOAD_104, subject="iotedged workload ca", ids=Ids.KEY_ID_AND_ISSUER)
_SERVER_11 = replace(_SERVER_104, ids=Ids.KEY_ID_AND_ISSUER, san=("edgehub", "{host}"), ips_as_dns=True)

# --- aziot-edged: edgelet-http-workload asks, aziot-certd signs -----------------------------------------------------
_SERVER_12 = CertProfile(
    Role.SERVER,
    "{host}",
    "rsa2048",
    30,
    extended_key_usage=_SERVER_AUTH,
    san=("edgehub", "{host}"),
    serial=Serial.ZERO,
)
_SERVER_13 = replace(_SERVER_12, san=("{host}", "$edgeHub"), ids=Ids.KEY_ID)
_SERVER_15 = replace(_SERVER_13, san=("{host}", "edgeHub"))
_QUICKSTART_CA = CertProfile(
    Role.DEVICE_CA,
    "aziot-edge CA {device}",
    "rsa2048",
    90,
    ca=True,
    ca_critical=True,
    path_length=0,
    key_usage=("digital_signature", "key_cert_sign"),
    ids=Ids.KEY_ID,
    serial=Serial.ZERO,
)
_DAEMON_IDENTITY = CertProfile(
    Role.MODULE,
    "{id}",
    "rsa2048",
    30,
    extended_key_usage=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    san=("URI: azureiot://{hub}/devices/{device}/modules/{id}",),  # a dNSName, odd but literal
    ids=Ids.KEY_ID,
    serial=Serial.ZERO,
)

_BASE = Generation(
    "1.1",
    "security daemon 1.0.5 to 1.1: workload CA, all identifiers",
    root=SCRIPT_ROOT_CA,
    intermediate=SCRIPT_INTERMEDIATE_CA,
    device_ca=SCRIPT_DEVICE_CA,
    workload_ca=_WORKLOAD_11,
    server=_SERVER_11,
    identity=SCRIPT_IDENTITY,
    lower_case=True,
    sends_root=False,
)
_ARTICLE = replace(
    _BASE,
    root=replace(SCRIPT_ROOT_CA, subject=ARTICLE_ROOT),
    intermediate=replace(SCRIPT_INTERMEDIATE_CA, subject=ARTICLE_INTERMEDIATE),
)
_EDGE_12 = replace(_BASE, workload_ca=None, lower_case=False)

TABLE: dict[str, Generation] = {
    row.name: row
    for row in (
        replace(
            _ARTICLE,
            name="documented",
            summary="the five levels and names of the IoT Edge certificate article, extensions as 1.1, root sent too",
            workload_ca=replace(_WORKLOAD_11, subject="iotedge workload ca"),
            sends_root=True,
            default_key="ec",
        ),
        replace(
            _ARTICLE,
            name="1.0.3",
            summary="1.0.0 to 1.0.3: the daemon's certificates carry nothing but basicConstraints",
            workload_ca=_WORKLOAD_103,
            server=_SERVER_103,
        ),
        replace(
            _ARTICLE,
            name="1.0.4",
            summary="1.0.4: keyUsage and extendedKeyUsage, no key identifiers, no SAN",
            workload_ca=_WORKLOAD_104,
            server=_SERVER_104,
        ),
        _BASE,
        replace(
            _EDGE_12,
            name="1.2",
            summary="1.2: no workload CA, no key identifiers on the server certificate, serial 0",
            server=_SERVER_12,
        ),
        replace(
            _EDGE_12,
            name="1.3",
            summary="1.3: as 1.2 with key identifiers, SAN $edgeHub",
            server=_SERVER_13,
        ),
        replace(
            _EDGE_12,
            name="1.5",
            summary="1.4 and 1.5: as 1.3, SAN edgeHub",
            server=_SERVER_15,
        ),
        replace(
            _EDGE_12,
            name="quickstart",
            summary="no certificates configured, 1.3 and later: a self-signed Edge CA, which is not sent",
            root=None,
            intermediate=None,
            device_ca=_QUICKSTART_CA,
            server=_SERVER_15,
        ),
        replace(
            _EDGE_12,
            name="certgen",
            summary="certGen.sh create_edge_server_certificate: signed by the intermediate, no SAN, root sent",
            device_ca=None,
            server=SCRIPT_SERVER,
            sends_root=True,
        ),
    )
}
GENERATIONS = tuple(TABLE)
MODULE_IDENTITY = _DAEMON_IDENTITY


def generation(name: str) -> Generation:
    """Return a row of the table, or raise UnknownGenerationError."""
    if name not in TABLE:
        raise UnknownGenerationError(name, GENERATIONS)
    return TABLE[name]


def generation_below(name: str) -> Generation:
    """Return a row whose gateways can be given a device CA, or raise CertsError."""
    row = generation(name)
    if row.root is None or row.device_ca is None:
        has = ", ".join(one.name for one in TABLE.values() if one.root and one.device_ca)
        raise CertsError(f"a gateway of generation {name} cannot be given a device CA", f"choose one of {has}")
    return row
