"""Metrics of a generation, derived from its events."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from motet.core.clock import now
from motet.core.events import TEXT, Accepted, Done, EventPayload, PartDone, PartFailed, PartProgress, PartStarted, Usage
from motet.core.telemetry.families import generation_metrics
from motet.core.telemetry.prometheus import labelled
from orchestrator.generation.admitted_request import AdmittedRequest

OTHER = "other"
"""Label of all modalities without a decoder. A model may invent modalities, and labels must be a closed set."""


class MetricsObserver:
    """Counts the events of one generation. `modalities` are those that have a decoder."""

    def __init__(self, request: AdmittedRequest, modalities: Collection[str]) -> None:
        self._labels = {TEXT, *modalities}
        self._label_of: dict[str, str] = {}
        """Part id to the modality's label."""
        self._steps: dict[str, int] = {}
        """Part id to the denoising steps counted so far."""
        self._tokens = (0, 0)
        self._started = now()
        self._has_text = False
        for attachment in request.attachments:
            labelled(generation_metrics.MEDIA_BYTES, attachment.modality, "input").inc(len(attachment.media.data))

    def count(self, payload: EventPayload) -> None:
        """Count one event."""
        match payload:
            case Accepted():
                generation_metrics.GENERATIONS_RUNNING.inc()
            case PartStarted(part_id, _, modality):
                self._start_part(part_id, modality)
            case PartProgress(part_id, step):
                labelled(generation_metrics.DENOISING_STEPS, self._label_of[part_id]).inc(
                    step - self._steps.get(part_id, 0)
                )
                self._steps[part_id] = step
            case PartDone(part_id, _, artifact):
                labelled(generation_metrics.PARTS, self._label_of[part_id], "").inc()
                if artifact is not None:
                    labelled(generation_metrics.MEDIA_BYTES, self._label_of[part_id], "output").inc(artifact.size_bytes)
            case PartFailed(part_id, error):
                labelled(generation_metrics.PARTS, self._label_of[part_id], error.reason).inc()
            case Usage(input_tokens, output_tokens):
                self._count_tokens(input_tokens, output_tokens)
            case Done(record):
                generation_metrics.GENERATIONS_RUNNING.dec()
                labelled(generation_metrics.GENERATION_SECONDS, record.state.name.lower()).observe(record.usage.elapsed)

    def _start_part(self, part_id: str, modality: str) -> None:
        self._label_of[part_id] = modality if modality in self._labels else OTHER
        if modality == TEXT and not self._has_text:
            self._has_text = True
            generation_metrics.FIRST_TEXT_SECONDS.observe(now() - self._started)

    def _count_tokens(self, input_tokens: int, output_tokens: int) -> None:
        if (input_tokens, output_tokens) == self._tokens:
            return
        labelled(generation_metrics.TOKENS, "input").inc(input_tokens - self._tokens[0])
        labelled(generation_metrics.TOKENS, "output").inc(output_tokens - self._tokens[1])
        self._tokens = (input_tokens, output_tokens)


@contextmanager
def measured_job(modality: str) -> Iterator[None]:
    """Count a media job as running within the context, and measure its duration."""
    running, started = labelled(generation_metrics.MEDIA_JOBS_RUNNING, modality), now()
    running.inc()
    try:
        yield
    finally:
        running.dec()
        labelled(generation_metrics.MEDIA_JOB_SECONDS, modality).observe(now() - started)
