"""`/jobs/v2`: scheduled jobs; and `/jobs`, which would read and write blobs.

Rule: no blob container can be reached from here, so a job of the second kind is refused as IoT Hub refuses one whose
container it cannot reach, and there never is any.
Sources: IoT Hub REST API, "Jobs"; IoT Hub error codes 400008 and 404002 (BlobContainerValidationError, JobNotFound).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from gateway.errors import ServiceError
from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import reply
from gateway.upstream.rest.query import Continuation, MaxItems, page_size, paged
from gateway.upstream.rest.service import Asked, needs

router = APIRouter(tags=["jobs"])
Document = Annotated[dict[str, Any], Body()]
SCHEDULE = needs(Permission.SERVICE_CONNECT)
TRANSFER = needs(Permission.REGISTRY_WRITE)


@router.get("/jobs/v2/query", dependencies=[SCHEDULE])
async def query_jobs(
    asked: Asked,
    job_type: Annotated[str | None, Query(alias="jobType")] = None,
    job_status: Annotated[str | None, Query(alias="jobStatus")] = None,
    max_items: MaxItems = None,
    continuation: Continuation = None,
) -> Response:
    """One page of scheduled jobs, by type and status."""
    management = asked.hub.management
    size = page_size(max_items)
    return paged(
        management.jobs.page(
            management.queries, job_type, job_status, max_items=size, continuation=continuation or None
        )
    )


@router.get("/jobs/v2/{job_id}", dependencies=[SCHEDULE])
async def get_job(asked: Asked, job_id: str) -> Response:
    """A scheduled job; one that nobody knows is of an unknown type."""
    return reply(asked.hub.management.jobs.document(job_id))


@router.put("/jobs/v2/{job_id}", dependencies=[SCHEDULE])
async def put_job(asked: Asked, job_id: str, body: Document) -> Response:
    """Schedule a change of twins or a direct method for the devices that meet a condition."""
    return reply(asked.hub.management.jobs.create(job_id, body))


@router.post("/jobs/v2/{job_id}/cancel", dependencies=[SCHEDULE])
async def cancel_job(asked: Asked, job_id: str) -> Response:
    """End a scheduled job that is not over."""
    return reply(asked.hub.management.jobs.cancel(job_id))


@router.post("/jobs/create", dependencies=[TRANSFER])
async def create_transfer(body: Document) -> Response:
    """Import or export of devices: refused, for want of a blob container."""
    kind = body.get("type")
    names = {"export": ["outputBlobContainerUri"], "import": ["inputBlobContainerUri", "outputBlobContainerUri"]}
    if kind not in names:
        raise ServiceError(400, "ArgumentInvalid", f"{kind!r} is no type of such a job: there are export and import")
    missing = [name for name in names[kind] if not isinstance(body.get(name), str) or not body[name]]
    if missing:
        raise ServiceError(400, "ArgumentNull", f"{missing[0]} is missing")
    what = "write to output" if kind == "export" else "read devices blob from input"
    message = f"Failed to {what} container: this is an emulated hub, which reaches no Azure Storage"
    raise ServiceError(400, "BlobContainerValidationError", message)


@router.get("/jobs", dependencies=[TRANSFER])
async def list_transfers() -> Response:
    """Imports and exports: there are none."""
    return reply([])


@router.get("/jobs/{job_id}", dependencies=[TRANSFER])
async def get_transfer(job_id: str) -> Response:
    """An import or export: it does not exist."""
    raise _no_job(job_id)


@router.delete("/jobs/{job_id}", dependencies=[TRANSFER])
async def cancel_transfer(job_id: str) -> Response:
    """Cancel an import or export: it does not exist."""
    raise _no_job(job_id)


def _no_job(job_id: str) -> ServiceError:
    return ServiceError(404, "JobNotFound", f"The job {job_id!r} does not exist")
