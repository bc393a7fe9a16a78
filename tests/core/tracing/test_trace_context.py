"""The trace context of a caller."""

from __future__ import annotations

import pytest

from motet.core.tracing.trace_context import TraceContext

IDS = f"{1:032x}-{2:016x}"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        IDS,
        f"00-{IDS}",
        f"00-{IDS}-1",
        f"00-{IDS}-01-more",
        f"ff-{IDS}-01",
        f"00-{0:032x}-{2:016x}-01",
        f"00-{1:032x}-{0:016x}-01",
        f"00-{IDS.upper().replace('1', 'A')}-01",
        f"01-{IDS}-01-{'x' * 512}",
    ],
)
def test_a_traceparent_that_is_not_valid_is_no_context(traceparent: str) -> None:
    assert TraceContext.parse(traceparent) is None


def test_a_later_version_may_have_more_fields() -> None:
    assert TraceContext.parse(f"01-{IDS}-01-more") == TraceContext(1, 2, True)


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True)])
def test_the_last_flag_is_the_decision_to_record(flags: str, sampled: bool) -> None:
    assert TraceContext.parse(f"00-{IDS}-{flags}") == TraceContext(1, 2, sampled)


def test_a_context_travels_as_it_is_read_and_a_state_that_is_not_valid_is_dropped() -> None:
    context = TraceContext(1, 2, True, "vendor=a,other=b")

    assert context.metadata == (("traceparent", f"00-{IDS}-01"), ("tracestate", "vendor=a,other=b"))
    assert TraceContext.parse(context.traceparent, context.state) == context
    assert TraceContext.parse(context.traceparent, "no state") == TraceContext(1, 2, True)
