"""What `leafgate up` can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The options of `leafgate up`, as given."""

    command: Sequence[str] = ()
    leaves: Sequence[str] = ()
    scenario: str | None = None
    hostname: str = "localhost"
    generation: str = "documented"
    device_ca_cn: str | None = None
    intermediates: int = 1
    device_ca_cert: Path | None = None
    device_ca_key: str | None = field(default=None, repr=False)  # the URI of a key may have a PIN in it
    pkcs11_module: str | None = None
    trust_bundle: Path | None = None
    iotedge_config: Path | None = None
    config_root: Path | None = None
    imitate: Path | None = None
    at: datetime | None = None
    key: str | None = None
    ip_san: Sequence[str] = ()
    defects: Sequence[str] = ()
    faults: Sequence[str] = ()
    fault_injection: bool = False
    upstream: str | None = None
    allow_cn_loop: bool = False
    connect_names: Sequence[str] = ()
    tls: Sequence[str] = ()
    seed: int | None = None
    mqtt_port: int = 8883
    https_port: int = 443
    hub_port: int = 8443
    metrics_port: int = 9600
    admin_port: int = 0
    bind: str = "127.0.0.1"
    children: Sequence[str] = ()
    parent: str | None = field(default=None, repr=False)  # a connection string has a key in it
    parent_hostname: str | None = None
    parent_trust: Path | None = None
    parent_address: str | None = None
    edge_device_id: str | None = None
    settings: Sequence[str] = ()
    messages: Path | None = None
    sinks: Sequence[str] = ()
    state: Path | None = None
    ready_file: Path | None = None
    log_level: str | None = None
    log_json: bool = False
