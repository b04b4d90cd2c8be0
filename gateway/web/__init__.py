"""HTTP for back ends, people and programs: how an ASGI application is served, and who may talk to it."""

from gateway.web.guard import Guard
from gateway.web.server import WebServer

__all__ = ["Guard", "WebServer"]
