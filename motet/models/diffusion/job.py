"""A job in the engine of a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.telemetry.busy_meter import Share
from motet.core.telemetry.stage import StageTimer
from motet.core.tracing.span import Span, current_span
from motet.core.workers import Progress
from motet.models.diffusion.model import Array, DenoisingState, rows_of
from motet.models.event_queue import EventQueue

JobEvent = Progress | Future[Progress | Media]
"""An event of a job. A preview or a result that is still being encoded is a future."""


@dataclass(eq=False, slots=True)
class RunningJob:
    """A job in the engine.

    `events` gets the job's events in order, the media last. `share` gets the compute time. `inputs` are those of
    `DiffusionModel.prepare`. `min_steps` is the field of `DecodeJob`. `state` is set before the first step.
    `skipped_steps` belongs to `StepScheduler`. The reader of `events` sets `cancelled`, and the engine sets `finished`.
    `since` is the time of the submission, and `span` the span of the code that submits the job.
    """

    number: int
    conditioning: Tensor
    seed: int
    steps: int
    guidance: float
    deadline: Deadline
    events: EventQueue[JobEvent]
    stages: StageTimer
    share: Share
    inputs: Sequence[Array] = ()
    previews: bool = False
    tenant: str = ""
    priority: int = 0
    min_steps: int | None = None
    state: DenoisingState | None = None
    span: Span = field(default_factory=current_span)
    skipped_steps: int = 0
    since: float = field(default_factory=now)
    cancelled: bool = False
    finished: bool = False

    @property
    def active(self) -> bool:
        """True if the job needs more steps."""
        return not (self.finished or self.cancelled)

    @property
    def group(self) -> int:
        """The number of batch rows of a step. Only jobs with an equal number can share a batch."""
        return rows_of(self.guidance)

    @property
    def due(self) -> float | None:
        """The deadline, see `Schedulable.due`."""
        return self.deadline.at

    @property
    def remaining(self) -> int:
        """The number of remaining steps."""
        return self.steps if self.state is None else self.state.total - self.state.step

    @property
    def phase(self) -> str:
        """The end of the sentence "the deadline passed while ..."."""
        if self.state is None:
            return "the job waited for the decoder"
        return f"the decoder was at step {self.state.step + 1} of {self.state.total}"
