"""The benchmark `tenants`, with few requests, and its figures."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import repeat

from motet.client import Client
from motet.core.events import State
from motet.core.media import Media
from motet.core.telemetry.families.call_metrics import CALLS_QUEUED, CALLS_RUNNING
from motet.core.telemetry.families.generation_metrics import GENERATIONS_RUNNING
from motet.core.telemetry.service_kind import ServiceKind
from motet.toys.workers import Pause
from motet.transport.metrics_server import MetricsServer
from motet.transport.server import Server
from orchestrator.quota.limits import QuotaLimits
from services.benchmarks.load.call_outcomes import CallOutcomes
from services.benchmarks.load.client_trace import ClientTrace
from services.benchmarks.load.greedy_tenant import GreedyConfig, GreedyTenant
from services.benchmarks.load.modest_tenants import ModestTenants
from services.benchmarks.suite.tenants import TenantsResult, add_round, report
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from tests.orchestrator.pipeline_harness import orchestrator_of
from tests.transport.access.keys import KeyRing

TEXTS = ("1", "2")


async def test_every_request_of_a_greedy_tenant_has_an_outcome_that_the_server_counted_once() -> None:
    # Work of earlier tests, whose event loops have ended, is none of this server.
    for gauge in (CALLS_QUEUED, CALLS_RUNNING, GENERATIONS_RUNNING):
        gauge.set(0)
    keys, result = KeyRing(), TenantsResult()
    quotas = {"limited": QuotaLimits(running_generations=3, artifact_bytes=2000)}
    async with (
        asyncio.timeout(60),
        orchestrator_of([ord("a"), Pause(0.05), ord("b")], quotas=lambda: quotas) as orchestrator,
        MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR) as metrics,
        Server(
            [servicer(orchestrator.for_caller) for servicer in (GenerationServicer, ArtifactServicer)],
            authentication=keys.authentication(),
        ) as server,
        ModestTenants(server.address, {name: keys.key_of(name) for name in ("a", "b", "c")}, TEXTS) as modest,
        AsyncExitStack() as stack,
    ):
        config = GreedyConfig(server.address, keys.key_of("greedy", quota_class="limited"), 60, 2, 10, TEXTS, 10**9)
        clients = [await stack.enter_async_context(Client(server.address, api_key=config.api_key)) for _ in range(2)]
        greedy = GreedyTenant(config, Media("", b"a picture"))
        await add_round(result, metrics.address, modest, greedy.send_all(clients), 10.0, 0)

    assert result.greedy.lost == {}
    assert result.greedy.sent == 60
    assert result.greedy.requests["succeeded"] > 0
    assert result.greedy.reasons["QUOTA_EXCEEDED"] > 0
    assert result.counted_otherwise == 0
    assert result.left == 0
    assert len(result.alone) == len(result.beside) >= 1
    assert all(trace.succeeded for trace in result.beside)


def result(beside: float = 1.1, failures: int = 0, **counts: float) -> TenantsResult:
    """Return a result, with a latency of 1.0 alone and of `beside` beside the greedy tenant."""

    def traces(seconds: float) -> list[ClientTrace]:
        return [ClientTrace(0.0, total=seconds, state=State.SUCCEEDED) for _ in range(20)]

    failed = [ClientTrace(0.0, error_reason=reason) for reason in repeat("QUEUE_FULL", failures)]
    greedy = CallOutcomes()
    greedy.requests["succeeded"] = 5
    return TenantsResult(traces(1.0), traces(beside) + failed, greedy, seconds=2.0, **counts)  # type: ignore[arg-type]


def missed(one: TenantsResult) -> list[str]:
    """Return the names of the figures that miss their bars."""
    return [figure.name for figure in report({"x": one}, {}).figures if figure.met is False]


def test_modest_tenants_that_are_hardly_slower_and_a_complete_account_meet_every_bar() -> None:
    assert missed(result()) == []


def test_slower_or_failed_modest_requests_lost_greedy_ones_and_other_counts_miss_a_bar() -> None:
    lost = result()
    lost.greedy.lost["dropped"] = 1
    nothing = result()
    nothing.greedy.requests.clear()
    nothing.greedy.requests["refused"] = 5

    for one, word in (
        (result(beside=1.4), "p95"),
        (result(failures=1), "failures"),
        (result(counted_otherwise=1), "counted"),
        (result(left=0.5), "left"),
        (lost, "without one of these"),
        (nothing, "succeeded"),
    ):
        assert [word in name for name in missed(one)] == [True]
