"""A job's place in a decoder's choir."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.workers import Progress
from motet.models.diffusion.model import DenoisingState, rows_of
from motet.models.event_queue import EventQueue

JobEvent = Progress | Future[Progress | Media]
"""An event of a job. A preview or a result that is still being encoded is a future."""


@dataclass(eq=False, slots=True)
class RunningJob:
    """A job in the engine. `song` is set from its first step on. `events` gets its events in order, the media last.

    `min_steps` is as in `DecodeJob`. `gone` is set by whoever does not listen any more, `over` by the choir.
    """

    number: int
    conditioning: Tensor
    seed: int
    steps: int
    guidance: float
    deadline: Deadline
    events: EventQueue[JobEvent]
    previews: bool = False
    tenant: str = ""
    priority: int = 0
    min_steps: int | None = None
    song: DenoisingState | None = None
    passed: int = 0
    gone: bool = False
    over: bool = False

    @property
    def group(self) -> int:
        """Songs of equally many rows can share a step: what comes of one is compared with its rows alone."""
        return rows_of(self.guidance)

    @property
    def due(self) -> float | None:
        """See `Waiting.due`."""
        return self.deadline.at

    @property
    def remaining(self) -> int:
        """See `Waiting.remaining`."""
        return self.steps if self.song is None else self.song.total - self.song.step

    @property
    def doing(self) -> str:
        """Completes "the deadline passed while ..."."""
        if self.song is None:
            return "the job waited for the decoder"
        return f"the decoder was at step {self.song.step + 1} of {self.song.total}"
