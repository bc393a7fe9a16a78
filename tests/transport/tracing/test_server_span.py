"""The spans of calls that a server handles."""

from __future__ import annotations

import pytest

from motet.core.errors import Reason, RequestError
from motet.core.tracing.names import REQUEST_ID, RPC_METHOD, RPC_STATUS
from motet.core.tracing.span import NO_SPAN, SpanKind, use_tracer
from motet.transport.tracing.server_span import end_server_span, start_server_span
from tests.core.tracing.recorded import RecordedSpan, RecordedTracer


def test_a_call_has_a_span_of_the_servers_side_with_its_method() -> None:
    tracer = RecordedTracer()
    with use_tracer(tracer):
        start_server_span("/motet.v1.GenerationService/Generate", NO_SPAN)

    (span,) = tracer.spans
    assert (span.name, span.kind) == ("motet.v1.GenerationService/Generate", SpanKind.SERVER)
    assert span.attributes[RPC_METHOD] == span.name


@pytest.mark.parametrize(
    "method",
    [
        "grpc.health.v1.Health/Check",
        "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "externalscaler.ExternalScaler/IsActive",
        "externalscaler.ExternalScaler/StreamIsActive",
        "externalscaler.ExternalScaler/GetMetricSpec",
        "externalscaler.ExternalScaler/GetMetrics",
        "motet.internal.v1.WorkerService/WatchCapacity",
    ],
)
def test_a_method_that_monitors_has_no_span(method: str) -> None:
    tracer = RecordedTracer()
    with use_tracer(tracer):
        assert start_server_span(f"/{method}", NO_SPAN) is NO_SPAN

    assert not tracer.spans


@pytest.mark.parametrize(
    ("code", "error", "failure"),
    [
        ("OK", None, []),
        ("INVALID_ARGUMENT", RequestError("no"), [("fail", Reason.INVALID_REQUEST.value, False)]),
        ("CANCELLED", None, [("fail", "CANCELLED", False)]),
        ("INTERNAL", None, [("fail", "INTERNAL", True)]),
        ("UNAVAILABLE", None, [("fail", "UNAVAILABLE", True)]),
    ],
)
def test_the_end_of_a_call_has_its_status_and_the_id_of_its_request(
    code: str, error: RequestError | None, failure: list[tuple[object, ...]]
) -> None:
    span = RecordedSpan()

    end_server_span(span, code, error, "r-1")

    assert (span.attributes[RPC_STATUS], span.attributes[REQUEST_ID]) == (code, "r-1")
    assert span.calls == [*failure, ("end",)]
