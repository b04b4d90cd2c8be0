"""When Edge Hub exits for a new certificate, when the daemon renews the Edge CA, and how long a restart takes.

Sources: CertificateRenewal.cs (Edge Hub) and RestartPolicyManager.cs (Edge Agent) of Azure/iotedge, cert-renewal of
Azure/iot-identity-service. All times are seconds.
"""

from __future__ import annotations

#: with no more than this left a start schedules nothing; half of it before the end the process exits
TIME_BUFFER = 300.0
#: auto_renew's default threshold: the share of its life at which a CA is renewed
CA_THRESHOLD = 0.8
_COOL_OFF, _MOST_COOL_OFF = 10.0, 300.0


def restart_in(left: float) -> float | None:
    """How long after its start Edge Hub exits, when its certificate has `left`; None: it schedules nothing."""
    return left - TIME_BUFFER / 2 if left > TIME_BUFFER else None


def ca_renewal_in(not_before: float, not_after: float, now: float) -> float:
    """How long until the daemon renews its CA."""
    return max(0.0, not_before + CA_THRESHOLD * (not_after - not_before) - now)


def cool_off(restarts: int) -> float:
    """How long Edge Agent lets a module rest that has exited so many times in a row before."""
    return min(_COOL_OFF * (1 << min(restarts, 10)), _MOST_COOL_OFF)


def span(seconds: float) -> str:
    """A duration as .NET writes it (TimeSpan, format "c"): -00:04:38, 30.00:00:00."""
    days, rest = divmod(int(abs(seconds)), 86_400)
    sign = "-" if seconds < 0 else ""
    return f"{sign}{f'{days}.' if days else ''}{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
