"""A job's place in a decoder's choir."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.workers import Progress
from motet.models.diffusion.model import DenoisingState, rows_of

JobEvent = Progress | Future[Progress | Media] | Exception
"""What a job is told, in order. What other threads still work on comes as a future; the media, or an error, is last."""


@dataclass(eq=False, slots=True)
class RunningJob:
    """A job while it is being made. It has a `song` once its first step has come; `tell` may be called on any thread.

    `min_steps` is as in `DecodeJob`. `gone` is set by whoever does not listen any more, `over` by the choir.
    """

    number: int
    conditioning: Tensor
    seed: int
    steps: int
    guidance: float
    deadline: Deadline
    tell: Callable[[JobEvent], object]
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
