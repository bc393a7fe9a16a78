"""One call to a worker, from the queue to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from motet.core.errors import AccessError, MotetError, OverloadedError, Reason, RetryableError
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, StageTimer
from motet.core.tracing.span import NO_SPAN, Span

logger = logging.getLogger(__name__)

_MAX_LOSSES, _MAX_FAILURES, _MAX_FAILURES_AT_ONE = 2, 4, 2
"""Failed attempts after which a call fails: those that may have begun, all of them, and all of them at one replica."""


def is_refusal(error: MotetError) -> bool:
    """Return whether a healthy worker may raise this error, because it does not take more calls."""
    return isinstance(error, OverloadedError) or error.reason is Reason.DRAINING


def error_of_worker(error: MotetError) -> MotetError:
    """Return an error of a worker as the pool's caller may get it.

    A worker that refuses this process cannot be used. Its error would blame the credentials of the caller.
    """
    if not isinstance(error, AccessError):
        return error
    logger.error("a worker refuses the certificate of this process", extra={"reason": error.reason.value})
    return RetryableError("a worker cannot be used at the moment; try again later", Reason.WORKER_UNAVAILABLE)


@dataclass(slots=True, eq=False)
class QueuedCall:
    """A call of one tenant. It is an item of the pool's `FairQueue`.

    `units` is the amount of work in the pool's unit (denoising steps, pieces of media, calls); `done` units are
    finished. `cost` is the duration in seconds that was predicted at `since`, a time on the event loop's clock.
    """

    tenant: str
    priority: int
    units: float
    cost: float
    since: float
    patient: bool = False
    """True if the call waits while its only replica is overloaded. Other calls fail at once then."""
    modality: str = OTHER
    """The modality of the work, for the metrics."""
    done: float = 0.0
    attempts: int = 0
    """Number of times the call was sent to a worker."""
    failures: list[Any] = field(default_factory=list)
    """The replica of each failed attempt."""
    losses: int = 0
    """Number of failed attempts that may have begun."""
    yielded: bool = False
    """True once the caller has an item."""
    start: Callable[[Any], AsyncIterator[Any]] = field(init=False)
    """Starts the call at a worker. The first attempt sets it."""
    hedge: Any = None
    """The attempt that runs besides the one that the caller reads, see `Hedges`."""
    context: Context = field(default_factory=copy_context)
    """The context of the caller. Code that works for the call outside the caller's task runs in it."""
    span: Span = NO_SPAN
    """The span of the caller, which is the parent of those of the attempts. The first attempt sets it."""
    reserved_at: Any = None
    """The replica that counts the call as work before the call starts."""
    assignment: asyncio.Future[Any] | None = None
    """Set while the call waits in the queue. Its result is the attempt at the replica that has a free slot."""

    def timer(self) -> StageTimer:
        """Return a timer of the call's stages. It starts with the queue."""
        return StageTimer(ServiceKind.ORCHESTRATOR, self.modality, Stage.QUEUE)

    def reserve_at(self, replica: Any) -> None:
        """Let a replica count the call as its work."""
        self.reserved_at = replica
        replica.reserved[self] = None

    def end_reservation(self) -> None:
        """Let no replica count the call as its work anymore."""
        if self.reserved_at is not None:
            del self.reserved_at.reserved[self]
            self.reserved_at = None

    def fail(self, replica: object, error: MotetError, *, balanced: bool = False) -> bool:
        """Record a failed attempt at a replica, and return whether the call may be sent once more.

        A `balanced` replica stands for several ones.
        """
        self.failures.append(replica)
        self.losses += not (is_refusal(error) or error.reason is Reason.WORKER_UNAVAILABLE)
        return (
            isinstance(error, RetryableError)
            and self.losses < _MAX_LOSSES
            and len(self.failures) < _MAX_FAILURES
            and (balanced or self.failures.count(replica) < _MAX_FAILURES_AT_ONE)
        )

    @property
    def ready(self) -> bool:
        """True if the call can start now. A reservation is not ready before its call comes."""
        return self.assignment is not None and not self.assignment.done()
