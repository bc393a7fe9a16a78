"""What is counted of every generation, read off its events."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from motet.core import metrics
from motet.core.clock import now
from motet.core.events import TEXT, Accepted, Done, EventPayload, PartDone, PartFailed, PartProgress, PartStarted, Usage
from motet.core.metrics import labelled
from orchestrator.generation.admitted_request import AdmittedRequest

OTHER = "other"
"""Stands for all modalities that nothing here makes: a model may invent any number, and a label may not."""


class MetricsObserver:
    """Counts one generation's events as they happen. `makes` are the modalities that there are decoders for."""

    def __init__(self, order: AdmittedRequest, makes: Collection[str]) -> None:
        self._known = {TEXT, *makes}
        self._modalities: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._tokens = (0, 0)
        self._started = now()
        self._silent = True
        for attachment in order.attachments:
            labelled(metrics.MEDIA_BYTES, attachment.modality, "read").inc(len(attachment.media.data))

    def count(self, what: EventPayload) -> None:
        """One more event."""
        match what:
            case Accepted():
                metrics.GENERATIONS_RUNNING.inc()
            case PartStarted(part_id, _, modality):
                self._start(part_id, modality)
            case PartProgress(part_id, step):
                labelled(metrics.DENOISING_STEPS, self._modalities[part_id]).inc(step - self._steps.get(part_id, 0))
                self._steps[part_id] = step
            case PartDone(part_id, _, artifact):
                labelled(metrics.PARTS, self._modalities[part_id], "").inc()
                if artifact is not None:
                    labelled(metrics.MEDIA_BYTES, self._modalities[part_id], "made").inc(artifact.size_bytes)
            case PartFailed(part_id, error):
                labelled(metrics.PARTS, self._modalities[part_id], error.reason).inc()
            case Usage(read, written):
                self._spend(read, written)
            case Done(record):
                metrics.GENERATIONS_RUNNING.dec()
                labelled(metrics.GENERATION_SECONDS, record.state.name.lower()).observe(record.usage.elapsed)

    def _start(self, part_id: str, modality: str) -> None:
        self._modalities[part_id] = modality if modality in self._known else OTHER
        if self._silent and modality == TEXT:
            self._silent = False
            metrics.FIRST_TEXT_SECONDS.observe(now() - self._started)

    def _spend(self, read: int, written: int) -> None:
        labelled(metrics.TOKENS, "read").inc(read - self._tokens[0])
        labelled(metrics.TOKENS, "written").inc(written - self._tokens[1])
        self._tokens = (read, written)


@contextmanager
def measured_job(modality: str) -> Iterator[None]:
    """Within, a decoder works on a step; how long is measured."""
    running, begun = labelled(metrics.MEDIA_JOBS_RUNNING, modality), now()
    running.inc()
    try:
        yield
    finally:
        running.dec()
        labelled(metrics.MEDIA_JOB_SECONDS, modality).observe(now() - begun)
