"""One generation, from its start until it is forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from motet.core.deadline import Deadline
from motet.core.errors import CancelledError, DeadlineError, FaultError, MotetError, Reason
from motet.core.events import Event, Generation, State
from motet.core.request import GenerationRequest
from orchestrator.fingerprint import fingerprint
from orchestrator.generation.event_log import EventLog
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.pipeline import Pipeline

logger = logging.getLogger(__name__)


class GenerationTask:
    """Owns the task of one generation: whoever watches, leaves or cancels, it ends here and nowhere else.

    `on_end` is called once, when no worker holds work for it any more.
    """

    def __init__(
        self,
        request: GenerationRequest,
        number: int,
        answer: EventWriter,
        log: EventLog,
        pipeline: Pipeline,
        on_end: Callable[[GenerationTask], None],
    ) -> None:
        self.number = number
        """Counts the generations of this process."""
        self.request_id = request.request_id
        self.fingerprint = fingerprint(request) if request.request_id else b""
        self.log = log
        self._detached = request.detach
        self._answer = answer
        self._pipeline: Pipeline | None = pipeline
        self._on_end = on_end
        self._attending = 0
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The generation's resource name."""
        return self._answer.name

    @property
    def record(self) -> Generation:
        """What is known of it now."""
        return self._answer.record()

    @property
    def fruitless(self) -> bool:
        """Whether it is over and nothing came of it, so that asking again should start anew."""
        return self.record.state in (State.FAILED, State.CANCELLED)

    def begin(self, deadline: Deadline) -> None:
        """Start the work, to be stopped at `deadline`."""
        if self._pipeline is not None:
            self._task = asyncio.create_task(self._pipeline.run(), name=self.name)
            self._task.add_done_callback(self._end)
        if (seconds := deadline.remaining()) is not None:
            late = DeadlineError("the deadline passed before everything was made; allow more time or ask for less")
            self._timer = asyncio.get_running_loop().call_later(seconds, self.stop, late)

    async def attend(self) -> AsyncGenerator[Event, None]:
        """All its events, to a caller it is made for. It is stopped when the last such leaves, unless detached."""
        self._attending += 1
        try:
            async with aclosing(self.log.follow()) as events:
                async for event in events:
                    yield event
        finally:
            self._attending -= 1
            if not self._attending and not self._detached and not self._answer.over:
                self.stop(CancelledError("the caller hung up"))
                await self.idle()

    def stop(self, error: MotetError) -> None:
        """Tell the end with this error, now, and have all workers stop. Changes nothing once the end was told."""
        if self._pipeline is not None and self._task is not None and not self._answer.over:
            self._pipeline.stop(error)
            self._task.cancel()

    async def idle(self) -> None:
        """Wait until no worker holds work for it."""
        await self._idle.wait()

    def _end(self, task: asyncio.Task[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pipeline is not None and not self._answer.over:
            self._pipeline.stop(_accident(task))
        self._pipeline = self._task = self._timer = None  # they hold the prompt's media, which nobody needs any more
        self._on_end(self)
        self._idle.set()


def _accident(task: asyncio.Task[None]) -> MotetError:
    """Why a task ended without telling so."""
    if task.cancelled():
        return CancelledError("the server is stopping")
    logger.error("a generation failed unexpectedly", exc_info=task.exception())
    return FaultError("the orchestrator failed; the operator's log says why", Reason.INTERNAL)
