"""Checks that connect: to the hub as the gateway does, to Edge Hub's ports as a leaf does.

Rule: no traffic leaves this machine unless the user names the place: an address from a file is only used when it is a
loopback address (`sources.here`).
"""

from __future__ import annotations

import socket

from leafsim import STACKS, Target
from leafsim.address import with_port
from leafsim.explain import explain
from leafsim.tls import SYSTEM
from scenarios.check.model import Check, Fact, Looked, NotApplicable, Skip, check, error, error_finding, warning
from scenarios.check.subject import AMQP, HTTPS, MQTT, PORTS, Subject

_TITLES = {MQTT: "MQTT", HTTPS: "HTTPS / WebSockets", AMQP: "AMQP"}


def _hub_check(protocol: str) -> Check:
    """`host-connect-iothub-*`: the hub's port answers, and its certificate is good for this machine's store."""

    @check(
        f"host-connect-iothub-{protocol}",
        f"host can connect to and perform TLS handshake with iothub {_TITLES[protocol]} port",
    )
    def look(subject: Subject) -> Looked:
        found = subject.hub.get(protocol)
        if found is None:
            raise NotApplicable("no IoT Hub is configured")
        if isinstance(found, str):
            raise Skip(found)
        host, port = found
        yield Fact("iothub_hostname", host)
        yield Fact("port_number", port)
        outcome = STACKS["python"].probe(Target(host, port, host, SYSTEM), subject.timeout)
        if not outcome.ok:
            nested = subject.configured if not isinstance(subject.configured, str) else None
            hint = (
                "\nthe parent gateway's root must be in this machine's store of trusted certificates"
                if nested and nested.parent_hostname and isinstance(outcome.code, int)
                else ""
            )
            what = "could not complete TLS handshake" if _has_answered(outcome.code) else outcome.message
            cause = () if what == outcome.message else (outcome.message,)
            yield error(f"Could not connect to {with_port(host, port)} : {what}{hint}", *cause)

    return look


def _has_answered(code: int | str | None) -> bool:
    return code not in ("refused", "timeout", "name", "network")


HOST_CONNECT = tuple(map(_hub_check, (AMQP, HTTPS, MQTT)))


@check("edge-hub-port-mqtt", "leaf devices can reach Edge Hub's MQTT port")
def port_mqtt(subject: Subject) -> Looked:
    """The port is bound, and what answers there speaks TLS and shows a certificate."""
    host, port = subject.head(MQTT)
    yield Fact("address", with_port(host, port))
    if wrong := subject.capture_error:
        yield error_finding(wrong)


def _port_check(protocol: str, whom: str) -> Check:
    """The port of another protocol: without it only the leaves that use it stay outside."""

    @check(f"edge-hub-port-{protocol}", f"leaf devices can reach Edge Hub's {_TITLES[protocol]} port")
    def look(subject: Subject) -> Looked:
        host, port = subject.head(protocol)
        yield Fact("address", with_port(host, port))
        try:
            socket.create_connection((host, port), subject.timeout).close()
        except (OSError, ValueError) as wrong:
            reason = explain(wrong, "tcp", with_port(host, port), subject.timeout)
            yield warning(
                f"{reason.message}\n{whom} cannot connect; publish port {PORTS[protocol]} in Edge Hub's createOptions "
                "(HostConfig.PortBindings) and open the firewall, or leave it if no device needs it"
            )

    return look


port_https = _port_check(HTTPS, "leaf devices on MQTT over WebSocket, and modules that call methods,")
port_amqp = _port_check(AMQP, "leaf devices on AMQP")
