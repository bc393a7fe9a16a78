"""Open-loop load."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from motet.core.events import State
from services.benchmarks.load.open_loop import (
    ScheduledRequest,
    poisson_requests,
    read_trace,
    send_all,
    with_cancellations,
)
from services.embedded import embedded
from services.factory import Factory


def test_poisson_arrivals_have_the_rate_and_repeat_with_the_seed() -> None:
    requests = poisson_requests(50, 100, ["x", "y"], random.Random(3))

    assert len(requests) == pytest.approx(5000, rel=0.05)
    assert [request.text for request in requests[:4]] == ["x", "y", "x", "y"]
    assert requests == poisson_requests(50, 100, ["x", "y"], random.Random(3))
    assert all(before.at <= after.at < 100 for before, after in pairwise(requests))


def test_a_share_of_the_clients_cancels() -> None:
    requests = with_cancellations([ScheduledRequest(0, "x", 1)] * 1000, 0.25, 8, random.Random(0))
    times = [request.cancel_after for request in requests if request.cancel_after is not None]

    assert len(times) == pytest.approx(250, rel=0.2)
    assert 0 <= min(times) < max(times) <= 8


def test_a_trace_is_sorted_by_time(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text('seconds,prompt\n2.5,"later, with a comma"\n0,first\n')

    requests = read_trace(path, random.Random(0))

    assert [(request.at, request.text) for request in requests] == [(0, "first"), (2.5, "later, with a comma")]


@pytest.mark.parametrize(
    ("text", "message"),
    [("0,x\nsoon,y\n", "line 2"), ("", "no request"), ("0,x\n1\n", "line 2"), ("1\n", "line 1")],
)
def test_the_error_about_an_invalid_trace_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(SettingsError, match=message):
        read_trace(path, random.Random(0))


async def test_latencies_count_from_when_a_request_was_due() -> None:
    requests = [
        ScheduledRequest(0.05, "hello", 1),
        ScheduledRequest(0.0, "hello", 2),
        ScheduledRequest(0.0, "hello", 3, cancel_after=0.0),
    ]
    async with embedded(Factory.of_toys()) as motet:
        traces = await send_all(motet, requests)

    assert traces[0].due == pytest.approx(traces[1].due + 0.05)
    assert [trace.state for trace in traces] == [State.SUCCEEDED, State.SUCCEEDED, None]
    assert 0 <= traces[0].sent_late < (traces[0].total or 0)
    assert traces[2].cancelled_after == 0.0
