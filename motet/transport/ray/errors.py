"""The errors of Ray as errors of Motet."""

from __future__ import annotations

import logging

from ray.exceptions import (
    ActorUnschedulableError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError

from motet.core.errors import FaultError, MotetError, OverloadedError, Reason, RetryableError

_LOST = (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    ReplicaUnavailableError,
    TaskCancelledError,
    WorkerCrashedError,
)
"""Errors of a replica that ended, or that cannot be reached, while it had the call."""

_UNAVAILABLE = ActorUnschedulableError, DeploymentUnavailableError, TaskUnschedulableError

logger = logging.getLogger(__name__)


def error_of_ray(error: Exception, peer: str, received: bool) -> MotetError:
    """Return the error of a call that Ray could not complete.

    `received` is true if a response arrived before. Without one, the replica may not have begun, as in gRPC. `peer`
    names the worker in the message.
    """
    if isinstance(error, BackPressureError):
        return OverloadedError(f"the queue of {peer} in Ray is full; try again in a second")
    if isinstance(error, _LOST) and received:
        return RetryableError(f"a replica of {peer} was lost; try again", Reason.WORKER_LOST)
    if isinstance(error, _LOST + _UNAVAILABLE):
        message = f"no replica of {peer} can be reached; check the application in Ray"
        return RetryableError(message, Reason.WORKER_UNAVAILABLE)
    # The text of Ray's error may have anything in it, such as a prompt.
    logger.error("Ray failed a call", extra={"peer": peer, "error": type(error).__name__})
    return FaultError(f"Ray failed a call to {peer} with {type(error).__name__}", Reason.INTERNAL)
