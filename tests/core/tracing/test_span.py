"""The end of a span: an error gives its reason and never its message, and a cancellation is no fault."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.errors import FaultError, MotetError, Reason, RequestError
from motet.core.tracing.span import end_span, ending
from tests.core.tracing.recorded import RecordedSpan


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (FaultError("secret"), ("fail", Reason.WORKER_FAULT.value, True)),
        (RequestError("secret", Reason.CANCELLED), ("fail", Reason.CANCELLED.value, False)),
        (asyncio.CancelledError("secret"), ("fail", Reason.CANCELLED.value, False)),
        (GeneratorExit(), ("fail", Reason.CANCELLED.value, False)),
        (ValueError("secret"), ("fail", "ValueError", True)),
    ],
)
def test_an_error_gives_its_reason_and_a_cancellation_is_no_fault(
    error: BaseException, failure: tuple[str, str, bool]
) -> None:
    span = RecordedSpan()

    end_span(span, error)

    assert span.calls == [failure, ("end",)]


def test_a_span_whose_context_ends_with_an_error_fails_and_the_error_passes() -> None:
    span = RecordedSpan()

    with pytest.raises(MotetError), ending(span):
        raise FaultError("secret")

    assert [call[0] for call in span.calls] == ["fail", "end"]


def test_a_span_without_an_error_only_ends() -> None:
    span = RecordedSpan()

    with ending(span):
        pass

    assert span.calls == [("end",)]
