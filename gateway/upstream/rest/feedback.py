"""`/messages/serviceBound/feedback`: what became of cloud-to-device messages."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.upstream.feedback import CONTENT_TYPE
from gateway.upstream.policies import Permission
from gateway.upstream.rest.answers import done
from gateway.upstream.rest.service import Asked, needs

router = APIRouter(tags=["cloud-to-device"], dependencies=[needs(Permission.SERVICE_CONNECT)])
_FEEDBACK = "/messages/serviceBound/feedback"


@router.get(_FEEDBACK, responses={204: {"description": "There is none"}})
async def receive(asked: Asked) -> Response:
    """The next batch, locked under the token in ETag; 204 when there is none."""
    found = asked.feedback.receive(asked.now())
    if found is None:
        return done()
    token, batch = found
    return Response(batch.body, headers={"ETag": f'"{token}"'}, media_type=CONTENT_TYPE)


@router.delete(_FEEDBACK + "/{lock_token}", status_code=204)
async def complete(asked: Asked, lock_token: str) -> Response:
    """The batch has been taken care of."""
    asked.feedback.complete(lock_token, asked.now())
    return done()


@router.post(_FEEDBACK + "/{lock_token}/abandon", status_code=204)
async def abandon(asked: Asked, lock_token: str) -> Response:
    """The batch is to be delivered again."""
    asked.feedback.abandon(lock_token, asked.now())
    return done()
