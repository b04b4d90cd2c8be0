"""IoT Hub's service REST API, of api-version 2021-04-12: what back ends and the service SDKs call over HTTPS."""

from gateway.upstream.rest.app import application
from gateway.upstream.rest.service import Service

__all__ = ["Service", "application"]
