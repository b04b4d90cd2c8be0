"""Edge Hub's metrics in the Prometheus text format, on the path where the product has them: `/metrics`.

Rule: each gateway has its own registry; nothing is collected but when somebody asks.
Sources: MetricsListener.cs and MetricsProvider.cs of Azure/iotedge; doc/BuiltInMetrics.md (tags).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from gateway.backend import BackEnd
from gateway.errors import StoreError
from gateway.hub.metrics import METRICS, QUANTILES, Labels, Meter, Metric
from gateway.process import EdgeProcess
from gateway.web.guard import Application, Receive, Scope, Send

_PREFIX = "edgehub"


class _Collector(Collector):
    """Reads what the running Edge Hub has counted; nothing while none runs."""

    def __init__(self, gateway: BackEnd) -> None:
        self._gateway = gateway
        self._instance: tuple[EdgeProcess | None, str] = (None, "")

    def collect(self) -> Iterator[Family]:
        """Every metric that has a series."""
        process = self._gateway.process
        if process is None:
            return
        if self._instance[0] is not process:  # "On restart, all metrics will be reset"
            self._instance = (process, str(uuid.uuid4()))
        tags = {
            "iothub": self._gateway.hub_hostname,
            "edge_device": self._gateway.edge_device_id,
            "instance_number": self._instance[1],
        }
        process.count_up()
        gauges = _gauges(process)
        for name, metric in METRICS.items():
            family = _family(name, metric, tags, process.meter, gauges.get(name, {}))
            if family.samples:
                yield family


def _family(name: str, metric: Metric, tags: Mapping[str, str], meter: Meter, gauge: Mapping[Labels, float]) -> Family:
    family = Family(f"{_PREFIX}_{name}", metric.help, metric.kind)
    told = {"ms_telemetry": "True"} if metric.told else {}

    def add(suffix: str, values: Labels, number: float, **more: str) -> None:
        labels = {**tags, **dict(zip(metric.labels, values, strict=True)), **told, **more}
        family.add_sample(f"{family.name}{suffix}", labels, number)

    for values, number in gauge.items():
        add("", values, number)
    for values, number in meter.counters[name].items():
        add("_total", values, number)
    for values, summary in meter.summaries[name].items():
        for share, value in zip(QUANTILES, summary.quantiles(meter.now()), strict=True):
            add("", values, value, quantile=str(share))
        add("_count", values, summary.count)
        add("_sum", values, summary.sum)
    return family


def _gauges(process: EdgeProcess) -> dict[str, dict[Labels, float]]:
    gauges: dict[str, dict[Labels, float]] = {"connected_clients": {(): len(process.edge.clients)}}
    try:
        lengths = process.forwarder.queue_lengths()
    except StoreError:  # the store has said so itself
        return gauges
    gauges["queue_length"] = {(endpoint, str(priority)): length for (endpoint, priority), length in lengths.items()}
    return gauges


def application(gateway: BackEnd) -> Application:
    """The ASGI application for one gateway."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(gateway))
    metrics = make_asgi_app(registry, disable_compression=True)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].rstrip("/") == "/metrics":
            await metrics(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    return app
