"""The observations of stages have the ids of their traces, on pages for scrapers that take exemplars."""

from __future__ import annotations

import asyncio
from urllib.request import Request, urlopen

from motet.core.telemetry.service_kind import ServiceKind
from motet.transport.metrics_server import MetricsServer
from tests.orchestrator.pipeline_harness import request_of
from tests.services.tracing.collector import collecting
from tests.services.tracing.test_traces import TRACE_ID, deployed, events_of

SAMPLED, UNSAMPLED = f"00-{TRACE_ID.hex()}-b7ad6b7169203331-01", f"00-{'5' * 32}-b7ad6b7169203331-00"


async def test_a_page_in_openmetrics_has_the_id_of_a_sampled_trace_and_no_other_page_has_one() -> None:
    async def page(address: str, accept: str) -> str:
        request = Request(f"http://{address}/metrics", headers={"Accept": accept})
        return await asyncio.to_thread(lambda: urlopen(request, timeout=30).read().decode())

    with collecting() as collector:
        for parent in (UNSAMPLED, SAMPLED):
            async with deployed("distributed", collector, traceparent=parent) as motet:
                await events_of(motet, request_of("a"))
    async with MetricsServer("127.0.0.1:0", ServiceKind.DECODER) as server:
        openmetrics = await page(server.address, "application/openmetrics-text; version=1.0.0")
        plain = await page(server.address, "text/plain")

    lines = [line for line in openmetrics.splitlines() if f'trace_id="{TRACE_ID.hex()}"' in line]
    # A call of a worker has no span of its own, and a stage of the worker has one.
    for label in ('stage="call"', 'component="decoder"'):
        assert any(line.startswith("motet_stage_duration_seconds_bucket{") and label in line for line in lines)
    assert "5" * 32 not in openmetrics
    assert "trace_id" not in plain
