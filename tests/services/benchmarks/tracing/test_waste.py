"""Wasted work."""

from __future__ import annotations

import pytest

from services.benchmarks.tracing.spans import WorkerSpan
from services.benchmarks.tracing.waste import wasted_work


def test_work_after_cancellation_is_wasted() -> None:
    spans = {
        1: [WorkerSpan("a", 1, 0, 10, 10)],
        2: [WorkerSpan("a", 2, 0, 6, 6), WorkerSpan("b", 2, 5, 6, 1)],
        3: [WorkerSpan("a", 3, 0, 1, 1)],
    }

    waste = wasted_work(spans, {2: 4, 3: 2})

    assert waste.total == 10 + 6 + 1 + 1
    assert waste.wasted == 2 + 1
    assert waste.idle_after == (2, 2)
    assert waste.share == pytest.approx(3 / 18)
