"""Metrics of a generation, derived from its events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from motet.answers.timeline import timeline_of
from motet.core.clock import now
from motet.core.errors import MotetError, Reason
from motet.core.events import (
    TEXT,
    Accepted,
    Done,
    EventPayload,
    Generation,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    PlanNode,
    Usage,
)
from motet.core.telemetry.compute_time import ComputeTime, ComputeTimes, total_time
from motet.core.telemetry.families import generation_metrics
from motet.core.telemetry.families.request_compute_metrics import REQUEST_CPU_SECONDS, REQUEST_GPU_SECONDS
from motet.core.telemetry.fault import Fault, fault_of, fault_of_reason
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER
from orchestrator.generation.admitted_request import AdmittedRequest

HUNG_UP = "hung_up"
"""Cause of a cancellation, in the metadata of its error: the last caller left."""


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
        self._plan: tuple[PlanNode, ...] = ()
        self._with_media: set[str] = set()
        """The labels of the modalities of which a medium is complete."""
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
                label = self._label_of[part_id]
                labelled(generation_metrics.PARTS, label, "", Fault.NONE).inc()
                if artifact is not None:
                    labelled(generation_metrics.MEDIA_BYTES, label, "output").inc(artifact.size_bytes)
                    self._count_first_media(label)
            case PartFailed(part_id, error):
                labelled(generation_metrics.PARTS, self._label_of[part_id], error.reason, fault_of(error)).inc()
            case PlanGrown(nodes):
                self._plan = nodes
            case Usage(input_tokens, output_tokens):
                self._count_tokens(input_tokens, output_tokens)
            case Done(record):
                generation_metrics.GENERATIONS_RUNNING.dec()
                state = record.state.name.lower()
                labelled(generation_metrics.GENERATION_SECONDS, state).observe(record.usage.elapsed)
                reason, cause = (record.error.reason, _cause_of(record.error)) if record.error else ("", "")
                labelled(generation_metrics.GENERATIONS, state, reason, fault_of(record.error), cause).inc()
                if record.error is None:
                    self._observe_plan(record)

    def _start_part(self, part_id: str, modality: str) -> None:
        self._label_of[part_id] = modality if modality in self._labels else OTHER
        if modality == TEXT and not self._has_text:
            self._has_text = True
            generation_metrics.FIRST_TEXT_SECONDS.observe(now() - self._started)

    def _count_first_media(self, label: str) -> None:
        if label not in self._with_media:
            self._with_media.add(label)
            labelled(generation_metrics.FIRST_MEDIA_SECONDS, label).observe(now() - self._started)

    def _observe_plan(self, record: Generation) -> None:
        """Record the plan and the critical path of a generation that was not stopped."""
        timeline = timeline_of(record, self._plan)
        generation_metrics.CRITICAL_PATH_SECONDS.observe(timeline.critical_seconds)
        generation_metrics.OVERHEAD_SECONDS.observe(timeline.overhead)
        generation_metrics.PLAN_JOBS.observe(len(self._plan))
        generation_metrics.PLAN_DEPTH.observe(_depth_of(self._plan))

    def _count_tokens(self, input_tokens: int, output_tokens: int) -> None:
        if (input_tokens, output_tokens) == self._tokens:
            return
        labelled(generation_metrics.TOKENS, "input").inc(input_tokens - self._tokens[0])
        labelled(generation_metrics.TOKENS, "output").inc(output_tokens - self._tokens[1])
        self._tokens = (input_tokens, output_tokens)


def _depth_of(plan: Iterable[PlanNode]) -> int:
    """Return the number of media parts of the longest chain, in which each part needs the one before."""
    depths: dict[str, int] = {}
    for node in plan:
        depths[node.part_id] = 1 + max((depths.get(need, 0) for need in node.depends_on), default=0)
    return max(depths.values(), default=0)


def _cause_of(error: MotetError) -> str:
    """Return the cause of a cancellation, or "" for another error."""
    if error.reason is not Reason.CANCELLED:
        return ""
    return HUNG_UP if error.metadata.get("cause") == HUNG_UP else "requested"


def export_refusals() -> None:
    """Export the refusals of each reason from 0, because an increase from nothing is none for Prometheus."""
    for reason in Reason:
        labelled(generation_metrics.GENERATIONS_REFUSED, reason, fault_of_reason(reason))


@contextmanager
def refusals_counted() -> Iterator[None]:
    """Count an error that is raised within the context as a request that was refused."""
    try:
        yield
    except MotetError as error:
        labelled(generation_metrics.GENERATIONS_REFUSED, error.reason, fault_of(error)).inc()
        raise


def observe_compute_times(times: ComputeTimes, modalities: Collection[str]) -> None:
    """Record the compute times of a generation whose calls have ended, for any reason. Other modalities are `OTHER`."""
    by_labels: dict[tuple[ServiceKind, str], list[ComputeTime]] = {}
    for (component, modality), time in times.totals().items():
        by_labels.setdefault((component, modality if modality in modalities else OTHER), []).append(time)
    for labels, time in ((labels, total_time(each)) for labels, each in by_labels.items()):
        for family, seconds in ((REQUEST_GPU_SECONDS, time.gpu), (REQUEST_CPU_SECONDS, time.cpu)):
            if seconds:
                labelled(family, *labels).observe(seconds)


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
