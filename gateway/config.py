"""Settings of the emulated Edge Hub, with the product's defaults.

Sources: appsettings_hub.json and doc/EnvironmentVariables.md of Azure/iotedge, MqttAdapter.cs of
Azure/azure-iot-protocol-gateway.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]


class Settings(BaseModel):
    """Limits and timers; every duration is in seconds, every size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_packet_size: int = Field(default=262_144, gt=0, description="whole PUBLISH packet (MaxInboundMessageSize)")
    connect_timeout: float = Field(default=60, gt=0, description="from TCP accept to CONNECT (ConnectArrivalTimeout)")
    max_keep_alive: float = Field(default=600, gt=0, description="cap of 1.5 x keep-alive (MaxKeepAliveTimeout)")
    token_skew: float = Field(default=300, ge=0, description="how long after its expiry a SAS token still passes")
    authentication_mode: Literal["scope", "cloud-and-scope", "cloud"] = Field(
        default="scope", description="who judges a client (AuthenticationMode)"
    )
    scope_refresh_rate: float = Field(
        default=3600, gt=0, description="between two reads of the device scope (DeviceScopeCacheRefreshRateSecs)"
    )
    scope_refresh_delay: float = Field(
        default=120, ge=0, description="before the same is asked for again (DeviceScopeCacheRefreshDelaySecs)"
    )
    scope_refresh_wait: float = Field(default=100, gt=0, description="how long a CONNECT waits for the device scope")
    reauthentication_period: float = Field(default=300, gt=0, description="between two judgements of who is connected")
    cloud_operation_timeout: float = Field(
        default=20, gt=0, description="for IoT Hub's judgement of a token (CloudOperationTimeoutSecs)"
    )
    max_connected_clients: int = Field(
        default=100, gt=0, description="clients that can be reached (MaxConnectedClients)"
    )
    message_ack_timeout: float = Field(default=30, gt=0, description="for a module's PUBACK (MessageAckTimeoutSecs)")
    reported_sync_period: float = Field(
        default=5, ge=0, description="between two pushes of reported properties (ReportedPropertiesSyncFrequencySecs)"
    )
    min_twin_sync_period: float = Field(
        default=120, ge=0, description="between two reads of a whole twin after an outage (MinTwinSyncPeriodSecs)"
    )
    renewal: Literal["restart", "missed", "down", "loop"] = Field(
        default="restart",
        description="what Edge Hub does 2.5 minutes before its certificate ends: restart for a new one, miss it, "
        "exit and stay down, or restart again and again while a new one has no 5 minutes either (loop)",
    )
    strict: bool = Field(default=False, description="answer as IoT Hub and the specification do, not as Edge Hub does")
    fault_injection: bool = Field(
        default=False, description="obey telemetry with AzIoTHub_FaultOperation... properties, as IoT Hub does"
    )
    track_device_state: bool = Field(
        default=True, description="drop what IoT Hub refuses of a device, instead of trying for ever (TrackDeviceState)"
    )
    twin_change_events: bool = Field(default=True, description="IoT Hub tells of changes of twins in the feed")
    device_lifecycle_events: bool = Field(
        default=False, description="IoT Hub tells of devices and modules that are created or deleted"
    )
    device_connection_state_events: bool = Field(
        default=False, description="IoT Hub tells of clients that connect or disconnect"
    )
    inbox_limit: int = Field(default=100_000, gt=0, description="messages the upstream inbox keeps in memory")
    inbox_byte_limit: int = Field(default=1 << 28, gt=0, description="bytes of messages that it keeps in memory")
    feed_limit: int = Field(
        default=1_000_000, ge=0, description="messages that --state keeps of what arrived upstream; 0 keeps none"
    )
    feed_byte_limit: int = Field(default=1 << 30, gt=0, description="bytes of them that it keeps, more or less")
    durability: Literal["normal", "full"] = Field(default="normal", description="full: fsync each commit")
