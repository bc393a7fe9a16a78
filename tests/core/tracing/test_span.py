"""The end of a span: an error gives its reason and never its message, and a cancellation is no fault."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from motet.core.errors import FaultError, MotetError, Reason, RequestError
from motet.core.tracing.span import end_span, ending
from motet.core.tracing.trace_context import TraceContext


@dataclass
class RecordedSpan:
    """A span that keeps its calls."""

    context: TraceContext | None = None
    recording: bool = True
    calls: list[tuple[object, ...]] = field(default_factory=list)

    def set(self, name: str, value: object) -> None:
        self.calls.append(("set", name, value))

    def link(self, other: object) -> None:
        self.calls.append(("link", other))

    def fail(self, error_type: str, *, is_fault: bool = True) -> None:
        self.calls.append(("fail", error_type, is_fault))

    def end(self, at: float | None = None) -> None:
        self.calls.append(("end",))


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
