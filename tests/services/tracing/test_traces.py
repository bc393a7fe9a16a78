"""The traces of requests: one connected tree of spans through all services, however the request ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from motet.client import Client
from motet.core.caller import ANONYMOUS
from motet.core.deadline import Deadline
from motet.core.errors import FaultError, NotFoundError, RetryableError
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.telemetry.families.generation_metrics import MEDIA_CACHE
from motet.core.tracing.span import current_trace_id, spanning
from motet.core.workers import Workers
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from motet.transport.server import Server
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.servicer import GenerationServicer
from services.tracing.settings import TracingSettings
from services.tracing.tracing import traced
from tests.orchestrator.edges import EDGES, edge_decoders, plan_of
from tests.orchestrator.pipeline_harness import DIGEST, pools_of, probe, request_of
from tests.services.tracing.collector import Collector, collecting
from tests.transport.ray.local_handle import served_by_ray
from tests.transport.serving import served
from tests.waiting import until

PICTURE = Media("x/a", b"the bytes of a picture")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = bytes.fromhex(PARENT[3:35])
EMBEDDED = """
generate
  admission
    probe
  invoke_workflow toy
    embeddings toy
      queue
      attempt
        forward
    generate_content toy
      queue
      attempt
        prefill
        decode_step
    generate_content toy/a
      queue
      attempt
        denoise
    generate_content toy/b
      queue
      attempt
        denoise
"""
DISTRIBUTED = """
motet.v1.GenerationService/Generate
  admission
    probe
  invoke_workflow toy
    embeddings toy
      queue
      attempt
        motet.internal.v1.EncoderService/Encode
          transfer
          forward
    generate_content toy
      queue
      attempt
        motet.internal.v1.LanguageModelService/Generate
          prefill
          decode_step
    generate_content toy/a
      queue
      attempt
        motet.internal.v1.DecoderService/Decode
          denoise
          transfer
    generate_content toy/b
      queue
      attempt
        motet.internal.v1.DecoderService/Decode
          denoise
          transfer
"""
TREES = {"embedded": EMBEDDED.strip(), "distributed": DISTRIBUTED.strip()}
DEPLOYMENTS = tuple(TREES)


@asynccontextmanager
async def deployed(
    kind: str, collector: Collector, decoders: dict[str, Any] | None = None, ratio: float = 1.0, **metadata: str
) -> AsyncIterator[Any]:
    """Yield Motet over toys, embedded or behind a server for each worker. Spans have arrived at the end."""
    settings = OrchestratorSettings(media_job_timeout=20)
    toys = Workers(ToyEncoder(), ToyLanguageModel(EDGES.grammar, plan_of), decoders or edge_decoders())
    async with AsyncExitStack() as stack:
        tracing = TracingSettings(tracing_endpoint=collector.endpoint, tracing_ratio=ratio)
        await stack.enter_async_context(traced(tracing, kind))
        if kind == "distributed":
            toys = await remote(toys, stack)
        workers = pools_of(toys, settings, EDGES)
        orchestrator = await stack.enter_async_context(Orchestrator(workers, EDGES, DIGEST, settings, probe))
        if kind == "embedded":
            yield orchestrator.for_caller(ANONYMOUS)
            return
        server = await stack.enter_async_context(Server([GenerationServicer(orchestrator.for_caller)]))
        yield await stack.enter_async_context(Client(server.address, metadata=metadata))


async def remote(toys: Workers, stack: AsyncExitStack) -> Workers:
    async def channel_to(worker: Any) -> Any:
        server, _ = await stack.enter_async_context(served(worker))
        return await stack.enter_async_context(open_channel(server.address, retries=False))

    return Workers(
        RemoteEncoder(await channel_to(toys.encoder)),
        RemoteLanguageModel(await channel_to(toys.language_model)),
        {name: RemoteDecoder(await channel_to(decoder)) for name, decoder in toys.decoders.items()},
    )


async def events_of(motet: Any, request: GenerationRequest) -> list[Any]:
    return [event async for event in motet.generate(request)]


@pytest.mark.parametrize("kind", DEPLOYMENTS)
async def test_a_request_is_one_connected_tree_through_all_services(kind: str) -> None:
    with collecting() as collector:
        async with deployed(kind, collector) as motet:
            await events_of(motet, request_of("ab", PICTURE))

    assert collector.tree() == TREES[kind]
    assert not any(seen.failed for seen in collector.spans)


@pytest.mark.parametrize("kind", DEPLOYMENTS)
async def test_a_media_job_has_links_to_the_jobs_whose_media_it_takes(kind: str) -> None:
    with collecting() as collector:
        async with deployed(kind, collector) as motet:
            await events_of(motet, request_of("abcd"))

    jobs = {name: collector.only(f"generate_content toy/{name}") for name in "abcd"}
    ids = {seen.span.span_id: name for name, seen in jobs.items()}
    needs = {name: {ids[link.span_id] for link in seen.span.links} for name, seen in jobs.items()}
    assert needs == {"a": set(), "b": set(), "c": {"a"}, "d": {"b", "c"}}
    assert len({seen.span.trace_id for seen in collector.spans}) == 1
    collector.tree()
    assert jobs["c"].span.start_time_unix_nano >= jobs["a"].span.end_time_unix_nano


@pytest.mark.parametrize("kind", DEPLOYMENTS)
async def test_the_tree_of_a_cancelled_request_is_complete_and_says_so(kind: str) -> None:
    blocked = ToyDecoder("a", media_type="x/a", fault=InjectedFault(Pause()))
    with collecting() as collector:
        async with deployed(kind, collector, edge_decoders(a=blocked)) as motet:
            async with aclosing(motet.generate(request_of("ab"))) as events:
                await anext(aiter(events))
                await until(lambda: blocked.running > 0)
            # The server stops the generation after its caller has left.
            await until(lambda: blocked.running == 0)

    tree = collector.tree()
    assert "generate_content toy/a" in tree
    workflow, job = collector.only("invoke_workflow toy"), collector.only("generate_content toy/a")
    attempts = [seen for seen in collector.named("attempt") if seen.span.parent_span_id == job.span.span_id]
    assert len(attempts) == 1
    for seen in (workflow, job, *attempts):
        assert (seen.attributes["error.type"], seen.failed) == ("CANCELLED", False), seen.name
    assert workflow.attributes["motet.state"] == "cancelled"
    if kind == "distributed":
        calls = {seen.name: seen.attributes for seen in collector.spans if "Service/" in seen.name}
        assert calls["motet.internal.v1.DecoderService/Decode"]["rpc.response.status_code"] == "CANCELLED"


@pytest.mark.parametrize("kind", DEPLOYMENTS)
async def test_the_tree_of_a_request_whose_decoder_fails_has_the_fault_where_it_happened(kind: str) -> None:
    broken = ToyDecoder("a", media_type="x/a", fault=InjectedFault(FaultError("the reason in words")))
    with collecting() as collector:
        async with deployed(kind, collector, edge_decoders(a=broken)) as motet:
            await events_of(motet, request_of("ab"))

    tree = collector.tree()
    failed = {seen.name for seen in collector.spans if seen.failed}
    calls = {"motet.internal.v1.DecoderService/Decode"} if kind == "distributed" else set()
    assert failed == {"generate_content toy/a", "attempt", *calls}
    assert {seen.attributes["error.type"] for seen in collector.spans if seen.failed} == {"WORKER_FAULT"}
    assert collector.only("invoke_workflow toy").attributes["motet.state"] == "partial"
    assert "generate_content toy/b" in tree
    assert "the reason in words" not in "".join(str(seen.span) for seen in collector.spans)


@pytest.mark.parametrize("kind", DEPLOYMENTS)
async def test_each_attempt_of_a_job_has_a_span(kind: str) -> None:
    lost = ToyDecoder("a", media_type="x/a", fault=InjectedFault(RetryableError("gone"), times=1))
    with collecting() as collector:
        async with deployed(kind, collector, edge_decoders(a=lost)) as motet:
            await events_of(motet, request_of("a"))

    job = collector.only("generate_content toy/a")
    attempts = [seen for seen in collector.named("attempt") if seen.span.parent_span_id == job.span.span_id]
    attempts.sort(key=lambda seen: seen.attributes["motet.attempt"])
    assert [seen.failed for seen in attempts] == [True, False]
    assert {seen.span.kind for seen in attempts} == {Span.SPAN_KIND_CLIENT}
    assert not job.failed


async def test_equal_jobs_share_the_spans_of_the_work() -> None:
    with collecting() as collector:
        async with deployed("embedded", collector) as motet:
            await events_of(motet, request_of("a", seed=1))
            await events_of(motet, request_of("a", seed=1))

    first, second = sorted(collector.named("generate_content toy/a"), key=lambda seen: seen.span.start_time_unix_nano)
    assert [seen.attributes["motet.cache"] for seen in (first, second)] == ["miss", "hit"]


async def test_a_job_that_joins_a_running_one_has_a_link_to_it() -> None:
    decoder = ToyDecoder("a", media_type="x/a", fault=InjectedFault(Pause()))
    joined = MEDIA_CACHE.labels("a", "joined")
    before = joined._value.get()
    with collecting() as collector:
        async with deployed("embedded", collector, edge_decoders(a=decoder)) as motet:
            requests = [asyncio.create_task(events_of(motet, request_of("a", seed=1))) for _ in range(2)]
            await until(lambda: joined._value.get() == before + 1)
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    jobs = {seen.span.span_id: seen for seen in collector.named("generate_content toy/a")}
    linked = [link.span_id for seen in jobs.values() for link in seen.span.links]
    assert len(jobs) == 2
    assert len(linked) == 1
    assert linked[0] in jobs


async def test_the_trace_of_a_caller_continues_and_its_decision_counts() -> None:
    state = "vendor=value"
    with collecting() as collector:
        # The ratio is for requests without a caller's trace.
        async with deployed("distributed", collector, ratio=0.0, traceparent=PARENT, tracestate=state) as motet:
            await events_of(motet, request_of("a"))
        async with deployed("distributed", collector, traceparent=PARENT[:-1] + "0") as motet:
            await events_of(motet, request_of("b"))

    assert {seen.span.trace_id for seen in collector.spans} == {TRACE_ID}
    assert {seen.span.trace_state for seen in collector.spans} == {state}
    assert collector.only("motet.v1.GenerationService/Generate").span.parent_span_id.hex() == "b7ad6b7169203331"
    assert not collector.named("generate_content toy/b")


@pytest.mark.parametrize("parent", ["00-0-0-01", "ff" + PARENT[2:], PARENT.replace("0af7", "xxxx"), "0" * 400])
async def test_a_wrong_traceparent_begins_a_trace(parent: str) -> None:
    with collecting() as collector:
        async with deployed("distributed", collector, traceparent=parent) as motet:
            await events_of(motet, request_of("a"))

    collector.tree()
    assert TRACE_ID not in {seen.span.trace_id for seen in collector.spans}


async def test_only_the_share_of_requests_that_the_ratio_says_is_traced() -> None:
    with collecting() as collector:
        async with deployed("distributed", collector, ratio=0.0) as motet:
            await events_of(motet, request_of("ab"))

    assert collector.spans == []


async def test_a_caller_that_follows_a_generation_has_a_link_to_it() -> None:
    with collecting() as collector:
        async with deployed("distributed", collector) as motet:
            events = await events_of(motet, request_of("a"))
            name = events[-1].payload.generation.name
            assert [event async for event in motet.watch(name)]

    followed, fetch = collector.only("invoke_workflow toy"), collector.only("fetch_response toy")
    (link,) = fetch.span.links
    assert (link.trace_id, link.span_id) == (followed.span.trace_id, followed.span.span_id)
    assert fetch.attributes["gen_ai.response.id"] == followed.attributes["gen_ai.response.id"] == name


async def test_log_lines_and_the_errors_of_a_client_have_the_id_of_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[tuple[str, str]] = []
    caplog.handler.addFilter(lambda record: not lines.append((record.getMessage(), current_trace_id())))
    with collecting() as collector, caplog.at_level(logging.DEBUG):
        async with deployed("distributed", collector) as motet:
            await events_of(motet, request_of("a"))
            with pytest.raises(NotFoundError) as failure:
                await motet.get("generations/" + 32 * "0")

    ids = {seen.span.trace_id.hex() for seen in collector.spans if seen.name == "invoke_workflow toy"}
    assert {trace_id for message, trace_id in lines if message == "a generation ended"} == ids
    assert failure.value.trace_id == collector.only("motet.v1.GenerationService/GetGeneration").span.trace_id.hex()


async def test_a_call_over_ray_continues_the_trace() -> None:
    with collecting() as collector:
        async with (
            traced(TracingSettings(tracing_endpoint=collector.endpoint), "ray"),
            served_by_ray(ToyEncoder()) as (_, channel),
        ):
            with spanning("caller"):
                await RemoteEncoder(channel).encode([PICTURE], Deadline.after(30))

    assert collector.tree().splitlines()[:2] == ["caller", "  motet.internal.v1.EncoderService/Encode"]
