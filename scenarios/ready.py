"""The ready file: what a program has to know to use a running gateway, as JSON, written whole or not at all.

Rule: what does not exist is null; a change is a new field or a new version, never a new meaning.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway import Gateway

VERSION = 1


def facts(gateway: Gateway, leaves: Mapping[str, str], children: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the file says about `gateway`; `leaves` has the complete connection strings.

    `children` has, by their ids, the edge devices below it: `connection_string`, `leaves` and `children` of each.
    """
    served = gateway.hub_port is not None
    return {
        "version": VERSION,
        "pid": os.getpid(),
        "hostname": gateway.hostname,
        "bind": gateway.bind,
        "mqtt_port": gateway.mqtt_port,
        "https_port": gateway.https_port,
        "metrics_port": gateway.metrics_port,
        "admin_url": gateway.admin_url,
        # Only where it is needed, which is not on loopback.
        **({} if gateway.admin_token is None else {"admin_token": gateway.admin_token}),
        "root_ca": str(gateway.root_ca),
        "state": str(gateway.state),
        "hub": {
            "hostname": gateway.hub_hostname,
            "https_port": gateway.hub_port,
            "root_ca": str(gateway.hub_root_ca) if served else None,
            "service_connection_string": gateway.service_connection_string() if served else None,
            "service_connection_string_named": gateway.service_connection_string(named=True) if served else None,
            "feed_url": gateway.feed_url,
            "c2d_url": gateway.c2d_url,
        },
        "leaves": dict(leaves),
        "children": dict(children or {}),
    }


def announcement(gateway: Gateway, ready_file: Path) -> dict[str, Any]:
    """What commands of the same user find of `gateway`: no keys, only where to ask."""
    return {
        "version": VERSION,
        "pid": os.getpid(),
        "hostname": gateway.hostname,
        "admin_url": gateway.admin_url,
        "admin_token": gateway.admin_token,
        "ready_file": str(ready_file.absolute()),
    }


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file; it has the leaves' keys in it, so only its owner may read it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
