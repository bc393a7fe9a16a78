"""The plan of a generation: a directed acyclic graph of media jobs."""

from __future__ import annotations

from dataclasses import dataclass

from motet.core.errors import FaultError
from motet.core.media import Media
from motet.core.tensors import Tensor


@dataclass(frozen=True, slots=True)
class MediaJob:
    """The generation of one media part.

    `anchor` is the position of the media in the answer's text, in code points. `caption` is the text that the language
    model wrote for the media. An input is the id of an earlier job, whose media it stands for, or a medium of the
    conversation.
    """

    id: str
    modality: str
    conditioning: Tensor
    anchor: int = 0
    caption: str = ""
    inputs: tuple[str | Media, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of the earlier jobs whose media are inputs of this job, in order."""
        return tuple(source for source in self.inputs if isinstance(source, str))


@dataclass(frozen=True, slots=True)
class Plan:
    """The media jobs of one answer. Each job comes after the jobs that it needs.

    This order proves that a plan has no cycle and no missing job. Raise `FaultError` for any other order.
    """

    jobs: tuple[MediaJob, ...] = ()

    def __post_init__(self) -> None:
        earlier: set[str] = set()
        for job in self.jobs:
            if job.id in earlier:
                raise FaultError(f"two media jobs have the id {job.id!r}")
            if missing := set(job.needs) - earlier:
                raise FaultError(f"media job {job.id!r} needs {sorted(missing)}, which no earlier job makes")
            earlier.add(job.id)

    def with_job(self, job: MediaJob) -> Plan:
        """Return this plan with one more job at its end."""
        return Plan((*self.jobs, job))
