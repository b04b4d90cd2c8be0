"""What the calls of the service API work with, and what each of them needs: a hub, and the right to ask.

Rule: everything here is a coroutine: FastAPI would run a plain function on another thread, and the hub belongs to one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from gateway.upstream.command import CommandLimits
from gateway.upstream.feedbacklocks import FeedbackLocks
from gateway.upstream.hub import IotHub
from gateway.upstream.policies import Permission, Policies, UnauthorizedError

#: where the token's rights are in an ASGI scope
RIGHTS = "leafgate.permissions"


class Service:
    """One hub as its service API sees it; `feedback` has the batches that back ends are working on."""

    def __init__(self, hub: IotHub, policies: Policies, now: Callable[[], float], log: logging.Logger) -> None:
        self.hub = hub
        self.policies = policies
        self.now = now
        self.log = log
        self.feedback = FeedbackLocks(hub.commands.feedback, CommandLimits())


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


#: a parameter of this type of a call gets the hub that is asked
Asked = Annotated[Service, Depends(_service)]


def needs(*wanted: Permission) -> Any:
    """A dependency: the token has to have one of these permissions. IoT Hub answers 401, not 403, to one without."""

    async def check(request: Request) -> None:
        rights: Permission = request.scope[RIGHTS]
        if not any(one in rights for one in wanted):
            names = " or ".join(str(one.name) for one in wanted)
            raise UnauthorizedError(f"the token's policy does not allow {names}")

    return Depends(check)
