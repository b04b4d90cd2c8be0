"""Scheduled jobs: a change of twins, or a direct method, for every device that a condition chooses.

Rules: the clock decides when a job starts and when it is out of time; who takes part is decided when it starts. A job
is over when every part of it is; it has failed when every part has. What is over is remembered for thirty days. What
has become of a device is kept with the next tick, so a job for thousands is not written for each of them.
Sources: "Schedule jobs on multiple devices"; "Quotas and throttling" (30 days of history); IoT Hub error codes 409104
and 404103; that an unknown job is no error was tried by mwalser/terraform-provider-iothub (docs, appendix D). When a
job counts as failed is not documented.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from gateway.errors import ServiceError, StoreError, TwinRefusedError
from gateway.hub.methods import MethodCall, MethodResult
from gateway.upstream.jobdocuments import OVER, Job, Part, Status, Type, from_kept, read_job
from gateway.upstream.keeping import Keep, keep_nothing
from gateway.upstream.query import Page, Queries, Query, parse_target
from gateway.upstream.query.paging import MOST_ITEMS
from gateway.upstream.twins import Twins

JOB = "job"
_REMEMBERED = 30 * 86_400.0
_ALSO: dict[str, str | None] = {"enqueued": Status.QUEUED.value}  # JobStatus.cs has two words for it
_OUT_OF_TIME = {"code": "JobRunTimeout", "description": "The job ran out of time before the device was done."}

Invoke = Callable[[MethodCall, Callable[[MethodResult], None]], None]


class Jobs:
    """All scheduled jobs; `chosen` gives the client ids that meet a condition, `invoke` calls a direct method."""

    def __init__(
        self,
        now: Callable[[], float],
        twins: Twins,
        invoke: Invoke,
        chosen: Callable[[Query], Iterator[str]],
        keep: Keep = keep_nothing,
    ) -> None:
        self._now = now
        self._twins = twins
        self._invoke = invoke
        self._chosen = chosen
        self._keep = keep
        self._jobs: dict[str, Job] = {}
        self._unsaved: dict[str, None] = {}

    def load(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up what was kept, by id; calls that were under way when the hub ended have failed."""
        self._jobs = {job_id: from_kept(document) for job_id, document in documents.items()}
        for job in self._jobs.values():
            for part in job.parts.values():
                if part.status is Status.RUNNING:
                    self._end(part, Status.FAILED, error={"code": "ServerError", "description": "The hub restarted."})
            self._settle(job)

    def create(self, job_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Schedule a job. Raises ServiceError (400, 409)."""
        job = read_job(job_id, body, self._now())
        if job_id in self._jobs:
            raise ServiceError(409, "JobAlreadyExists", f"A job with id {job_id!r} exists already.")
        self._take(job)
        return job.to_json()

    def document(self, job_id: str) -> dict[str, Any]:
        """A job as the REST API gives it; of one that nobody knows everything is unknown."""
        job = self._jobs.get(job_id)
        return {"jobId": job_id, "type": "unknown", "status": "unknown"} if job is None else job.to_json()

    def cancel(self, job_id: str) -> dict[str, Any]:
        """End a job that is not over: what has not been done is not done. Raises ServiceError (404, 412)."""
        job = self._jobs.get(job_id)
        if job is None:
            raise ServiceError(404, "JobNotFound", f"The job {job_id!r} does not exist.")
        if job.status in OVER:
            raise ServiceError(412, "JobRunPreconditionFailed", f"The job {job_id!r} is over: {job.status.value}.")
        ended = from_kept(job.kept())  # answers that are still to come go to the parts of the old one
        for part in ended.parts.values():
            if part.status not in OVER:
                self._end(part, Status.CANCELLED)
        ended.status, ended.ended = Status.CANCELLED, self._now()
        self._take(ended)
        return ended.to_json()

    def page(
        self,
        queries: Queries,
        job_type: str | None = None,
        job_status: str | None = None,
        *,
        max_items: int = MOST_ITEMS,
        continuation: str | None = None,
    ) -> Page:
        """One page of the jobs of a type and in a status, by id. Raises ServiceError for another's token."""
        job_status = _ALSO.get(job_status or "", job_status)
        text = f"jobs/v2/query {job_type or ''} {job_status or ''}"
        after, served = queries.tokens.read(text, continuation) if continuation else ("", 0)
        found = [
            job_id
            for job_id, job in sorted(self._jobs.items())
            if job_id > str(after) and job_type in {None, "", job.type} and job_status in {None, "", job.status}
        ]
        most = min(max_items, MOST_ITEMS)
        shown = found[:most]
        token = queries.tokens.write(text, shown[-1], served + most) if len(found) > most else None
        return Page([self._jobs[job_id].to_json() for job_id in shown], "JobResponse", token)

    def forget(self, client_id: str) -> None:
        """A device or module is deleted: its parts of jobs that are not over are."""
        for job in self._jobs.values():
            part = job.parts.get(client_id)
            if part is not None and part.status not in OVER:
                error = {"code": "DeviceNotFound", "description": "The device has been deleted."}
                self._end(part, Status.FAILED, error=error)
                self._settle(job)

    # -- time --------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Start what is due, end what is out of time, forget what is long over. Raises StoreError, at the end."""
        now = self._now()
        for job in self._jobs.values():
            if job.status in OVER:
                continue
            if job.status is not Status.RUNNING:
                if job.start <= now:
                    self._start(job)
            elif job.deadline <= now:
                for part in job.parts.values():
                    if part.status not in OVER:
                        self._end(part, Status.FAILED, error=_OUT_OF_TIME)
                self._settle(job)
        self.flush()

    def flush(self) -> None:
        """Keep what has changed, forget what is long over. Raises StoreError; then it is done the next time."""
        oldest = self._now() - _REMEMBERED
        for job in [one for one in self._jobs.values() if one.ended is not None and one.ended <= oldest]:
            self._keep(JOB, job.id, None)
            del self._jobs[job.id]
            self._unsaved.pop(job.id, None)
        for job_id in tuple(self._unsaved):
            self._keep(JOB, job_id, self._jobs[job_id].kept())
            del self._unsaved[job_id]

    def _start(self, job: Job) -> None:
        now = self._now()
        query, _ = parse_target(job.condition)
        job.status = Status.RUNNING
        job.parts = {client_id: Part(client_id, Status.PENDING, now) for client_id in self._chosen(query)}
        if job.deadline <= now:  # time was moved on so far that there was none left for it
            for part in job.parts.values():
                self._end(part, Status.FAILED, error=_OUT_OF_TIME)
        else:
            self._run(job)
        self._settle(job)

    def _run(self, job: Job) -> None:
        for part in tuple(job.parts.values()):
            part.status, part.started, part.updated = Status.RUNNING, self._now(), self._now()
            if job.type is Type.UPDATE_TWIN:
                self._update(job, part)
            else:
                self._call(job, part)

    def _update(self, job: Job, part: Part) -> None:
        twin = job.request["updateTwin"]
        properties = twin.get("properties")
        try:
            if "tags" in twin:
                self._twins.update_tags(part.client_id, twin["tags"])
            if isinstance(properties, Mapping) and "desired" in properties:
                self._twins.update_desired(part.client_id, _without_metadata(properties["desired"]))
        except TwinRefusedError as refused:
            self._end(part, Status.FAILED, error={"code": "ArgumentInvalid", "description": refused.message})
        except StoreError as lost:
            self._end(part, Status.FAILED, error={"code": "ServerError", "description": lost.message})
        else:
            self._end(part, Status.COMPLETED)

    def _call(self, job: Job, part: Part) -> None:
        def answered(result: MethodResult) -> None:
            if part.status in OVER:
                return
            if result.http_status == 200:
                response = {"status": result.status, "payload": _payload(result.payload)}
                self._end(part, Status.COMPLETED, outcome={"deviceMethodResponse": response})
            else:
                code = "DeviceNotOnline" if result.http_status == 404 else "GatewayTimeout"
                self._end(part, Status.FAILED, error={"code": code, "description": result.message})
            self._settle(job)

        self._invoke(job.call(part.client_id), answered)

    def _end(
        self,
        part: Part,
        status: Status,
        *,
        outcome: dict[str, Any] | None = None,
        error: dict[str, str] | None = None,
    ) -> None:
        part.status, part.outcome, part.error = status, outcome, error
        part.updated = part.ended = self._now()

    def _settle(self, job: Job) -> None:
        """Note that a job has changed; it is over when all its parts are."""
        parts = job.parts.values()
        if job.status is Status.RUNNING and all(part.status in OVER for part in parts):
            failed = bool(job.parts) and all(part.status is Status.FAILED for part in parts)
            job.status, job.ended = Status.FAILED if failed else Status.COMPLETED, self._now()
            job.failure = "The job failed on every device." if failed else None
        if self._jobs.get(job.id) is job:
            self._unsaved[job.id] = None

    def _take(self, job: Job) -> None:
        self._keep(JOB, job.id, job.kept())
        self._jobs[job.id] = job
        self._unsaved.pop(job.id, None)

    # -- what queries look at ------------------------------------------------------------------------------------------

    def keys(self) -> Sequence[str]:
        """One key for each device's part of each job, sorted; see Documents."""
        return sorted(f"{job.id} {client_id}" for job in self._jobs.values() for client_id in job.parts)

    def view(self, key: str, names: Collection[str], *, metadata: bool) -> Mapping[str, Any] | None:
        """What conditions look at."""
        del names, metadata  # a part is small
        job_id, _, client_id = key.partition(" ")
        job = self._jobs.get(job_id)
        return None if job is None or client_id not in job.parts else job.part_json(client_id)

    def part(self, key: str) -> dict[str, Any]:
        """A device's part of a job."""
        job_id, _, client_id = key.partition(" ")
        return self._jobs[job_id].part_json(client_id)


class JobParts:
    """The parts of all jobs as a collection of documents."""

    def __init__(self, jobs: Jobs) -> None:
        self.keys = jobs.keys
        self.view = jobs.view
        self.document = jobs.part


def _payload(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode("utf-8", "replace")


def _without_metadata(desired: Any) -> Any:
    if not isinstance(desired, Mapping):
        return desired
    return {name: value for name, value in desired.items() if not name.startswith("$")}
