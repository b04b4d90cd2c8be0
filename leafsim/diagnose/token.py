"""M8: is a ready-made SAS token one that Edge Hub can accept? Judged by what it says, since nobody here has the key.

Sources: SharedAccessSignature.cs and DeviceScopeTokenAuthenticator.cs of Azure/iotedge: one blank after the scheme, the
fields sr, sig and se, an audience of host/devices/ID[/modules/ID] whose host is the IoT Hub or the gateway, and five
minutes of patience after the expiry.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import unquote

from leafsim.connection import ConnectionString
from leafsim.diagnose.report import Finding

SCHEME = "SharedAccessSignature"
_PATIENCE = 300  # seconds that Edge Hub accepts a token beyond its expiry
_YEAR_5138 = 1e11  # seconds since 1970; what lies behind it are milliseconds


def judge(token: str, device: ConnectionString, now: float) -> Iterator[Finding]:
    """Yield what is wrong with a token for that device at `now` (seconds since 1970); its signature is never shown."""
    scheme, blank, rest = token.partition(" ")
    fields = {key.lower(): value for key, _, value in (part.partition("=") for part in rest.split("&"))}
    missing = [key for key in ("sr", "sig", "se") if not fields.get(key)]
    if scheme != SCHEME or not blank or rest.startswith(" ") or missing:
        seen = f"fields {', '.join(missing)} are missing" if missing else f"it does not begin with `{SCHEME} `"
        yield _wrong("the token is malformed", seen, f"write {SCHEME} sr=...&sig=...&se=..., with exactly one blank")
        return
    yield from _audience(unquote(fields["sr"]), device)
    yield from _expiry(fields["se"], now)


def _audience(resource: str, device: ConnectionString) -> Iterator[Finding]:
    host, _, path = resource.partition("/")
    right = device.resource.partition("/")[2]
    hosts = [one.lower() for one in (device.host_name, device.gateway_host_name) if one]
    fits = path.lower() == right.lower() or right.lower().startswith(f"{path.lower()}/modules/")  # its device's token
    if host.lower() not in hosts or not fits:
        fix = f"make it for {device.resource}, without anything behind it; tokens of a hub's policy do not count"
        yield _wrong("the token is for another audience", f"sr={resource}", fix)


def _expiry(text: str, now: float) -> Iterator[Finding]:
    try:
        expires = float(text)
    except ValueError:
        yield _wrong("the token's expiry is no number", "se", "write seconds since 1970, in UTC")
        return
    if expires > _YEAR_5138:
        fix = "write seconds since 1970; Edge Hub takes these for the far future, IoT Hub may not"
        yield _wrong("the token's expiry is in milliseconds", f"se={text}", fix, severity="warning")
    elif expires < now:
        late = now - expires
        what = "has expired" if late > _PATIENCE else "has expired, and counts for less than five minutes more"
        seen = f"valid until {_minute(expires)}; the clock here says {_minute(now)}"
        fix = "make a new one, or let the SDK do so from the key; compare the clocks"
        yield _wrong(f"the token {what}", seen, fix, severity="error" if late > _PATIENCE else "warning")


def _wrong(cause: str, evidence: str, fix: str, *, severity: str = "error") -> Finding:
    return Finding.model_validate(
        {"rule": "M8", "severity": severity, "cause": cause, "evidence": evidence, "fix": fix}
    )


def _minute(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
