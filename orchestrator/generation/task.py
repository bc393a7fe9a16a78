"""One generation, from its start until it is removed from the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from motet.core.deadline import Deadline
from motet.core.errors import CancelledError, DeadlineError, FaultError, MotetError, Reason, RetryableError
from motet.core.events import Generation, State
from motet.core.request import GenerationRequest
from motet.core.tracing.span import NO_SPAN, Span, UnrecordedSpan
from orchestrator.fingerprint import fingerprint
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.events.event_log import EventLog
from orchestrator.generation.log_line import log_generation
from orchestrator.generation.metrics_observer import HUNG_UP
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation.spans import end_workflow, workflow

logger = logging.getLogger(__name__)


RequestKey = tuple[str, str, str]
"""The owner of a generation, the tenant in its request, and the id of its request."""


def request_key(owner: str, request: GenerationRequest) -> RequestKey:
    """Return the key of a request id, which is unique for one owner and one tenant."""
    return owner, request.tenant, request.request_id


class GenerationTask:
    """The asyncio task of one generation, and the only place where the generation is stopped.

    `on_end` is called once with the record, when no worker works for the generation any more. From then on, few objects
    are kept.
    """

    __slots__ = (
        "_detached",
        "_idle",
        "_on_end",
        "_pipeline",
        "_subscribers",
        "_task",
        "_timer",
        "_writer",
        "fingerprint",
        "log",
        "name",
        "number",
        "owner",
        "request_key",
        "span",
        "tenant",
    )

    def __init__(
        self,
        owner: str,
        request: GenerationRequest,
        number: int,
        writer: EventWriter,
        log: EventLog,
        pipeline: Pipeline,
        on_end: Callable[[GenerationTask, Generation], None],
    ) -> None:
        self.name = writer.name
        """The generation's resource name."""
        self.owner = owner
        """The tenant of the caller that started the generation."""
        self.number = number
        """The generation's number in this process. Numbers of later generations are higher."""
        self.request_key = request_key(owner, request)
        self.tenant = request.tenant
        self.fingerprint = fingerprint(request) if request.request_id else b""
        self.log = log
        self.span: Span = NO_SPAN
        """The generation's span."""
        self._detached = request.detach
        self._writer: EventWriter | None = writer
        """The writer, until the end."""
        self._pipeline: Pipeline | None = pipeline
        self._on_end: Callable[[GenerationTask, Generation], None] | None = on_end
        self._subscribers = 0
        self._idle: asyncio.Event | None = asyncio.Event()
        """The event of the end, or None after the end."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def record(self) -> Generation:
        """The generation's record, as of now."""
        record = self.log.record if self._writer is None else self._writer.record()
        assert record is not None
        return record

    @property
    def failed(self) -> bool:
        """True if the generation ended without a result. A repeated request starts a new generation then."""
        return self.record.state in (State.FAILED, State.CANCELLED)

    def start(self, deadline: Deadline) -> None:
        """Start the generation. It is stopped at `deadline`."""
        if self._pipeline is not None:
            self._task = asyncio.create_task(self._run(self._pipeline), name=self.name)
            self._task.add_done_callback(self._end)
        if (seconds := deadline.remaining()) is not None:
            late = DeadlineError("the deadline passed before the answer was complete; allow more time or ask for less")
            self._timer = asyncio.get_running_loop().call_later(seconds, self.stop, late)

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        """Count a caller of `generate` as a subscriber while it reads the events.

        When the last subscriber leaves, the generation is stopped, unless it is detached.
        """
        self._subscribers += 1
        try:
            yield
        finally:
            self._subscribers -= 1
            if not self._subscribers and not self._detached and not self.log.closed:
                self.stop(CancelledError("the caller hung up", metadata={"cause": HUNG_UP}))
                await self.wait_idle()

    def stop(self, error: MotetError) -> None:
        """Write `Done` with this error now, and stop all workers. Do nothing if `Done` was already written."""
        if self._pipeline is not None and self._task is not None and not self.log.closed:
            self._pipeline.stop(error)
            self._task.cancel()

    async def wait_idle(self) -> None:
        """Wait until no worker works for the generation."""
        if self._idle is not None:
            await self._idle.wait()

    async def _run(self, pipeline: Pipeline) -> None:
        with workflow(pipeline.model, self.name) as self.span:
            try:
                await pipeline.run()
            finally:
                end_workflow(self.span, self.record)
        # A generation is kept for longer than the attributes of its span.
        self.span = NO_SPAN if self.span.context is None else UnrecordedSpan(self.span.context)

    def _end(self, task: asyncio.Task[None]) -> None:
        idle, on_end, pipeline, writer = self._idle, self._on_end, self._pipeline, self._writer
        assert idle is not None
        assert on_end is not None
        assert pipeline is not None
        assert writer is not None
        if self._timer is not None:
            self._timer.cancel()
        if not writer.finished:
            error = _unexpected_end(task)
            try:
                pipeline.stop(error)
            except Exception:
                logger.exception("the events of a generation could not be completed")
                writer.drop_text()  # Only the text was not checked before.
                pipeline.stop(error)
        # After `pack`, each reading of the record unpacks it.
        record = self.record
        log_generation(record, self.log.part_events, self.tenant, pipeline.log_fields)
        self.log.pack()
        # The pipeline has the prompt's media. The other objects are larger than the packed events.
        self._idle = self._on_end = self._pipeline = self._writer = self._task = self._timer = None
        on_end(self, record)
        idle.set()


def shutdown_error() -> MotetError:
    """Return the error of a generation that the end of this process stopped. The caller did not cancel it."""
    return RetryableError("the server shut down before the answer was complete; try again", Reason.DRAINING)


def _unexpected_end(task: asyncio.Task[None]) -> MotetError:
    """Return the error of a task that ended without `Done`."""
    if task.cancelled():
        return shutdown_error()
    logger.error("a generation failed unexpectedly", exc_info=task.exception())
    return FaultError("the orchestrator failed; the operator's log says why", Reason.INTERNAL)
