"""Scheduled jobs as they are asked for, kept and shown.

Sources: IoT Hub REST API, "Jobs" (JobRequest, JobResponse, DeviceJobStatistics); "Schedule jobs on multiple devices";
"Queries for IoT Hub jobs" (the document of a device's part); JobStatus.cs and DeviceJob.cs of
Azure/azure-iot-sdk-csharp (scheduled: in the future; queued, or enqueued: ready, of which the hub answers the former:
mwalser/terraform-provider-iothub, docs, appendix D).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NoReturn

from gateway.errors import GatewayError, ServiceError
from gateway.hub.methods import MethodCall
from gateway.upstream.calls import method_call
from gateway.upstream.keeping import utc
from gateway.upstream.query import QueryError, parse_target

_ID = re.compile(r"[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}\Z")
_DEFAULT_EXECUTION = 3_600.0
_FRACTION = re.compile(r"(\.\d{6})\d+")  # .NET writes seven digits


class Type(StrEnum):
    """What a job does."""

    UPDATE_TWIN = "scheduleUpdateTwin"
    DEVICE_METHOD = "scheduleDeviceMethod"


class Status(StrEnum):
    """How far a job, or a device's part of it, is."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(slots=True)
class Part:
    """What becomes of a job on one device or module; moments in seconds since 1970."""

    client_id: str
    status: Status
    updated: float
    started: float | None = None
    ended: float | None = None
    outcome: dict[str, Any] | None = None
    error: dict[str, str] | None = None


@dataclass(slots=True)
class Job:
    """One scheduled job; `request` is what was asked for, moments are in seconds since 1970."""

    id: str
    type: Type
    condition: str
    request: Mapping[str, Any]
    start: float
    seconds: float
    created: float
    status: Status
    ended: float | None = None
    failure: str | None = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def deadline(self) -> float:
        """When what has not been done fails."""
        return self.start + self.seconds

    def to_json(self) -> dict[str, Any]:
        """The job as the REST API gives it."""
        states = [part.status for part in self.parts.values()]
        return {
            "jobId": self.id,
            "type": self.type.value,
            "queryCondition": self.condition,
            "createdTime": utc(self.created),
            "startTime": utc(self.start),
            **({} if self.ended is None else {"endTime": utc(self.ended)}),
            "maxExecutionTimeInSeconds": int(self.seconds),
            **{name: self.request[name] for name in ("updateTwin", "cloudToDeviceMethod") if name in self.request},
            "status": self.status.value,
            **({} if self.failure is None else {"failureReason": self.failure}),
            "deviceJobStatistics": {
                "deviceCount": len(states),
                "failedCount": states.count(Status.FAILED),
                "succeededCount": states.count(Status.COMPLETED),
                "runningCount": states.count(Status.RUNNING),
                "pendingCount": states.count(Status.PENDING),
            },
        }

    def part_json(self, client_id: str) -> dict[str, Any]:
        """A device's part as queries give it."""
        part = self.parts[client_id]
        device_id, slash, module_id = client_id.partition("/")
        moments = {"startTimeUtc": part.started, "endTimeUtc": part.ended}
        return {
            "deviceId": device_id,
            **({"moduleId": module_id} if slash else {}),
            "jobId": self.id,
            "jobType": self.type.value,
            "status": part.status.value,
            **{name: utc(moment) for name, moment in moments.items() if moment is not None},
            "createdDateTimeUtc": utc(self.created),
            "lastUpdatedDateTimeUtc": utc(part.updated),
            "outcome": part.outcome or {"deviceMethodResponse": None},
            **({} if part.error is None else {"error": part.error}),
        }

    def call(self, client_id: str) -> MethodCall:
        """The direct method that it calls on one device. Raises ServiceError."""
        asked = self.request["cloudToDeviceMethod"]
        seconds = [asked.get(f"{name}TimeoutInSeconds") for name in ("response", "connect")]
        if not all(one is None or (isinstance(one, int | float) and not isinstance(one, bool)) for one in seconds):
            invalid("a timeout of a method is a number of seconds")
        response, connect = seconds[0] or 30, seconds[1] or 0
        try:
            return method_call(client_id, str(asked.get("methodName") or ""), asked.get("payload"), response, connect)
        except GatewayError as wrong:
            invalid(wrong.message)

    def kept(self) -> dict[str, Any]:
        """The job as it is kept."""
        parts = [asdict(part) for part in self.parts.values()]
        return asdict(replace(self, parts={})) | {"parts": parts}


def from_kept(document: Mapping[str, Any]) -> Job:
    """Read what `Job.kept` wrote."""
    fields = dict(document)
    parts = [Part(**(one | {"status": Status(one["status"])})) for one in fields.pop("parts")]
    fields |= {"type": Type(fields["type"]), "status": Status(fields["status"])}
    return Job(**fields, parts={part.client_id: part for part in parts})


def read_job(job_id: str, body: Mapping[str, Any], now: float) -> Job:
    """Read a JobRequest. Raises ServiceError."""
    if not _ID.match(job_id):
        invalid(f"{job_id!r} is no id of a job")
    if body.get("jobId") not in (None, "", job_id):
        invalid(f"the jobId in the body is {body['jobId']!r}, that in the address {job_id!r}")
    if body.get("type") not in list(Type):
        invalid(f"{body.get('type')!r} is no type of a scheduled job: there are {', '.join(Type)}")
    condition = body.get("queryCondition")
    if not isinstance(condition, str) or not condition.strip():
        invalid("queryCondition is missing: it is what follows WHERE in a query, and * for all devices")
    if condition.strip()[:6].lower() == "select":  # IoT Hub puts its own in front
        raise QueryError(f"Unexpected input at '{condition.strip()[:6]}'", hint="queryCondition is what follows WHERE")
    parse_target(condition)
    kind = Type(body["type"])
    name = "updateTwin" if kind is Type.UPDATE_TWIN else "cloudToDeviceMethod"
    if not isinstance(body.get(name), Mapping):
        invalid(f"{name} is missing")
    start = _start(body.get("startTime"), now)
    seconds = body.get("maxExecutionTimeInSeconds") or _DEFAULT_EXECUTION
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds <= 0:
        invalid(f"{seconds!r} is no time in seconds (maxExecutionTimeInSeconds)")
    status = Status.SCHEDULED if start > now else Status.QUEUED
    job = Job(job_id, kind, condition, {name: dict(body[name])}, start, float(seconds), now, status)
    if kind is Type.DEVICE_METHOD:
        job.call("any")  # what is wrong with the method is to be known now
    return job


def _start(text: Any, now: float) -> float:
    if text is None or text == "":
        return now
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        invalid(f"{text!r} is no time in ISO 8601 (startTime)")


def invalid(why: str) -> NoReturn:
    """Refuse a request for a job."""
    raise ServiceError(400, "ArgumentInvalid", f"The job is invalid: {why}.")
