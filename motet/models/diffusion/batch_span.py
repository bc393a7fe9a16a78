"""The spans of a decoder's batches."""

from __future__ import annotations

from collections.abc import Sequence

from motet.core.tracing.names import BATCH_SIZE, MODALITY, STEPS
from motet.core.tracing.span import NO_SPAN, Attributes, Span, start_span
from motet.models.diffusion.job import RunningJob

_NAME = "denoise batch"


class BatchSpans:
    """The spans of all denoising steps with the same jobs: one for each set of jobs, until one of the jobs ends.

    A batch belongs to several requests, so its span begins a trace of its own. It has links to the recorded requests,
    and their spans have links to it.
    """

    def __init__(self, modality: str) -> None:
        self._modality = modality
        self._open: dict[frozenset[RunningJob], tuple[Span, int]] = {}
        """The span of each set, and its number of steps so far."""

    def step(self, batch: Sequence[RunningJob]) -> None:
        """Count a step of these jobs."""
        if not any(job.span.recording for job in batch):
            return
        jobs = frozenset(batch)
        span, steps = self._open.get(jobs) or (self._start(batch), 0)
        self._open[jobs] = span, steps + 1

    def keep(self, jobs: Sequence[RunningJob]) -> None:
        """End the spans with a job that is not one of these, which need more steps."""
        if not self._open:
            return
        for batch in [batch for batch in self._open if not batch.issubset(jobs)]:
            span, steps = self._open.pop(batch)
            span.set(STEPS, steps)
            span.end()

    def _start(self, batch: Sequence[RunningJob]) -> Span:
        recorded = [job.span for job in batch if job.span.recording]
        attributes: Attributes = {MODALITY: self._modality, BATCH_SIZE: len(batch)}
        span = start_span(_NAME, parent=NO_SPAN, attributes=attributes, links=recorded)
        for request in recorded:
            request.link(span)
        return span
