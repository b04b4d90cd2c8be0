"""From a gateway's config.toml, or config.yaml of 1.1, to what `check` looks at and `up` starts from.

Rule: only what they need is read, and of a connection string only the hub's name: keys go no further. Keys of the
files: config.toml's are those of edgelet's and the identity service's template, config.yaml's those of tag 1.1.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from certs.files import read
from certs.pkcs11uri import is_uri
from scenarios.check.subject import EDGE_CA, IDENTITY, TRUST_BUNDLE, Configured, Preloaded
from scenarios.errors import ScenariosError

_TITLES = {EDGE_CA: "device CA certificate", TRUST_BUNDLE: "trust bundle", IDENTITY: "identity certificate"}
_SELF_SIGNED = "No device CA is configured ({})."


def configured_in(path: Path, root: Path | None = None) -> Configured:
    """Read a configuration; files in it are looked up below `root`, for the disk of another machine.

    Raises CertsError or ScenariosError, both with exit code 2, when it cannot be read.
    """
    old = path.suffix in (".yaml", ".yml")
    document = _yaml(path) if old else _toml(path)
    files = _old_files(document) if old else _files(document)
    preloaded = [
        Preloaded(
            identity,
            _TITLES[identity],
            _place(certificate, root),
            None if key is None else _place(key, root),
            key_uri=key if isinstance(key, str) and is_uri(key) else None,
        )
        for identity, (certificate, key) in files.items()
        if certificate is not None
    ]
    hostname = document.get("hostname", "" if old else None)
    return Configured(
        hostname=None if hostname is None else str(hostname),
        parent_hostname=str(document["parent_hostname"]) if document.get("parent_hostname") else None,
        hub_hostname=_hub(_table(document, "provisioning")),
        workload_ca=old,
        quickstart=_quickstart(document, old=old),
        files=tuple(preloaded),
    )


def _files(document: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    edge_ca, identity = _table(document, "edge_ca"), _proof(document)
    method = edge_ca.get("method")
    certificate = edge_ca.get("cert") or (f"it is issued by {method}" if method not in (None, "self_signed") else None)
    return {
        EDGE_CA: (certificate, edge_ca.get("pk")),
        TRUST_BUNDLE: (document.get("trust_bundle_cert"), None),
        IDENTITY: (identity.get("identity_cert"), identity.get("identity_pk")),
    }


def _old_files(document: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    certificates, identity = _table(document, "certificates"), _proof(document)
    return {
        EDGE_CA: (certificates.get("device_ca_cert"), certificates.get("device_ca_pk")),
        TRUST_BUNDLE: (certificates.get("trusted_ca_certs"), None),
        IDENTITY: (identity.get("identity_cert"), identity.get("identity_pk")),
    }


def _proof(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table with the gateway's own identity: of manual provisioning, or of DPS."""
    provisioning = _table(document, "provisioning")
    return _table(provisioning, "authentication") or _table(provisioning, "attestation")


def _quickstart(document: Mapping[str, Any], *, old: bool) -> str | None:
    if old:
        certificates = _table(document, "certificates")
        return None if certificates.get("device_ca_cert") else _SELF_SIGNED.format("certificates.device_ca_cert")
    edge_ca = _table(document, "edge_ca")
    own = edge_ca.get("cert") or edge_ca.get("method") not in (None, "self_signed")
    return None if own else _SELF_SIGNED.format("[edge_ca] cert and pk")


def _hub(provisioning: Mapping[str, Any]) -> str | None:
    """The hub's name: by itself, or out of the connection string; unknown with DPS."""
    given = provisioning.get("iothub_hostname") or _table(provisioning, "authentication").get("iothub_hostname")
    if given:
        return str(given)
    text = str(provisioning.get("connection_string") or provisioning.get("device_connection_string") or "")
    parts = dict(part.partition("=")[::2] for part in text.split(";"))
    return parts.get("HostName") or None


def _place(given: Any, root: Path | None) -> Path | str:
    """The file that a URI or a path means; a text where it means none."""
    if not isinstance(given, str):
        return "it is issued by the certificate service"
    if given.startswith("it is "):
        return given
    address = urlsplit(given)
    if address.scheme and address.scheme != "file":
        return f"it is no file ({address.scheme}:)"
    path = Path(unquote(address.path) if address.scheme else given)
    return path if root is None else root / path.relative_to(path.anchor)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(read(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as wrong:  # its text has line and column, and nothing of the file
        place = str(wrong) if isinstance(wrong, tomllib.TOMLDecodeError) else "it cannot be read"
        raise ScenariosError(f"{path} is no TOML file: {place}", "give the gateway's config.toml") from None


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        document = YAML(typ="safe", pure=True).load(read(path).decode("utf-8-sig"))
    except (YAMLError, ValueError, RecursionError) as wrong:
        mark = getattr(wrong, "problem_mark", None)  # the text would quote the file
        place = "it cannot be read" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
        raise ScenariosError(f"{path} is no YAML file: {place}", "give the gateway's config.yaml") from None
    if not isinstance(document, Mapping):
        raise ScenariosError(f"{path} is no configuration", "give the gateway's config.yaml")
    return document
