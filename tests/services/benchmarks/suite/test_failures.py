"""The benchmark `failures`, with one process."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.events import State
from services.benchmarks.load.client_trace import ClientTrace
from services.benchmarks.suite import failures
from services.benchmarks.suite.failures import FROZEN, KILLED, Disturbance, disturbed_deployment, report
from services.up.deployment import ORCHESTRATOR


async def test_no_request_fails_while_a_language_model_is_killed_and_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_SETTLE", 0.1)
    async with disturbed_deployment(callers=3, delay=0.005) as deployment, deployment.load() as loop:
        while len(loop.take()) < 3:
            await asyncio.sleep(0.5)
        killed = await deployment.kill("language model 2", loop)
        frozen = await deployment.freeze("language model", loop, 2.0)

    for disturbance in (killed, frozen):
        assert disturbance.traces
        assert disturbance.failures == 0, [trace.error_reason for trace in disturbance.traces]
    assert killed.returned > 0


def trace(seconds: float, reason: str = "") -> ClientTrace:
    state = State.FAILED if reason else State.SUCCEEDED
    return ClientTrace(0.0, total=seconds, state=state, error_reason=reason)


def test_the_report_judges_the_requests_that_had_a_live_replica() -> None:
    undisturbed = [trace(1.0) for _ in range(10)]
    slow = [trace(1.0), trace(3.5)]
    lost = [trace(2.0), trace(0.1, "WORKER_LOST")]
    disturbances = [
        Disturbance("decoder", KILLED, 2.0, lost),
        Disturbance("decoder", FROZEN, 0.0, slow),
        Disturbance(ORCHESTRATOR, KILLED, 11.0, [trace(0.1, "WORKER_UNAVAILABLE")]),
    ]
    figures = report(undisturbed, disturbances, {}).figures

    assert [(figure.value, figure.met) for figure in figures] == [
        (1.0, None),
        (1, False),
        (2.0, True),
        (0, True),
        (3.5, False),
        (11.0, False),
    ]
    assert report(undisturbed, disturbances, {}).details["decoder killed"]["reasons"] == ["WORKER_LOST"]
