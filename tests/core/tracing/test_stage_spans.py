"""The span of a stage has the times and the attributes of the stage."""

from __future__ import annotations

import time

import pytest

from motet.core.clock import now
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, record_stage, use_stage_observer
from motet.core.tracing.names import MODALITY
from motet.core.tracing.span import spanning, use_tracer
from motet.core.tracing.stage_spans import StageSpans
from tests.core.tracing.recorded import RecordedTracer


def test_a_stage_is_a_span_from_its_start_to_its_end_below_the_span_of_its_code() -> None:
    tracer = RecordedTracer()
    start = now() - 30.0
    with use_tracer(tracer), use_stage_observer(StageSpans()), spanning("work") as owner:
        record_stage(ServiceKind.DECODER, Stage.DENOISE, "image", start, start + 10.0)

    _, span = tracer.spans
    assert (span.name, span.parent, span.attributes[MODALITY]) == ("denoise", owner.context, "image")
    assert span.times == pytest.approx([time.time() - 30.0, time.time() - 20.0], abs=5.0)
