"""Quotas of tenants in the orchestrator: work is refused before it starts, and its cost is always counted."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from motet.core.caller import Caller, Role
from motet.core.errors import FaultError, MotetError, OverloadedError, Reason
from motet.core.events import PartDelta, PartFailed, PartProgress, State
from motet.core.media import MAX_INLINE_BYTES, Media
from motet.core.service import Motet
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder
from orchestrator.quota.limits import QuotaLimits
from tests.callers import AnonymousOrchestrator
from tests.orchestrator.pipeline_harness import (
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    text_of,
    toy_decoders,
    wait_idle,
)
from tests.waiting import in_virtual_time

SCRIPT = script_of("An a: ", signal_run("a"), " and a b: ", signal_run("b"), ".")


def orchestrator(decoder: ToyDecoder | None = None, script: Any = SCRIPT, **limits: Any) -> AnonymousOrchestrator:
    decoders = toy_decoders(a=decoder) if decoder else None
    classes = {"default": QuotaLimits(**limits)}
    return orchestrator_of(script, decoders, quotas=lambda: classes)


def as_tenant(motet: AnonymousOrchestrator, tenant: str) -> Motet:
    return motet.for_caller(Caller(tenant, frozenset(Role)))


async def remaining(motet: Motet) -> dict[str, float]:
    return {quota.name: quota.remaining for quota in await motet.quotas()}


async def refusal(motet: Motet) -> MotetError:
    with pytest.raises(OverloadedError) as failure:
        await run_generation(motet)
    return failure.value


@in_virtual_time
async def test_a_tenant_whose_tokens_are_used_up_is_refused_and_others_are_not() -> None:
    async with orchestrator(tokens_per_minute=1) as motet:
        greedy, modest = as_tenant(motet, "greedy"), as_tenant(motet, "modest")
        await run_generation(greedy)

        error = await refusal(greedy)
        assert (error.reason, error.metadata["quota"]) == (Reason.QUOTA_EXCEEDED, "tokens_per_minute")
        assert record_of(await run_generation(modest)).state is State.SUCCEEDED

        await asyncio.sleep(error.retry_after)  # type: ignore[attr-defined]
        assert record_of(await run_generation(greedy)).state is State.SUCCEEDED


@in_virtual_time
async def test_concurrent_requests_cannot_exceed_the_number_of_running_generations() -> None:
    async with orchestrator(ToyDecoder("a", delay=1), running_generations=2) as motet:
        tenant = as_tenant(motet, "t")
        results = await asyncio.gather(*(run_generation(tenant) for _ in range(5)), return_exceptions=True)
        await wait_idle(motet)

        refused = [result for result in results if isinstance(result, OverloadedError)]
        assert len(refused) == 3
        assert {error.metadata["quota"] for error in refused} == {"running_generations"}
        assert (await remaining(tenant))["running_generations"] == 2


@in_virtual_time
async def test_requests_whose_media_are_read_at_the_same_time_cannot_exceed_a_quota() -> None:
    async with orchestrator(running_generations=1) as motet:
        requests = [request_of(Media("x/a", b"a"), seed=seed) for seed in range(4)]
        results = await asyncio.gather(*(run_generation(motet, each) for each in requests), return_exceptions=True)

        assert sum(isinstance(result, OverloadedError) for result in results) == 3


@in_virtual_time
async def test_a_request_beyond_a_quota_is_refused_before_its_media_are_read() -> None:
    async with orchestrator(generations_per_minute=1) as motet:
        await run_generation(motet)
        with pytest.raises(OverloadedError):
            await run_generation(motet, request_of(Media("x/unknown", b"n")))


@in_virtual_time
async def test_media_beyond_the_decoder_seconds_fail_with_the_quota_and_the_rest_of_the_answer_arrives() -> None:
    async with orchestrator(ToyDecoder("a", delay=0.1), decoder_seconds_per_minute={"a": 0.001}) as motet:
        await run_generation(motet)
        events = await run_generation(motet, request_of(seed=8))

        (failed,) = payloads_of(events, PartFailed)
        assert failed.error.reason is Reason.QUOTA_EXCEEDED
        assert failed.error.metadata["quota"] == "decoder_seconds_per_minute/a"
        assert failed.retryable
        assert record_of(events).state is State.PARTIAL
        assert text_of(events) == "An a:  and a b: ."


@in_virtual_time
async def test_cancelled_work_costs_the_steps_and_the_tokens_that_were_taken() -> None:
    limits = {"decoder_seconds_per_minute": {"a": 1000.0}, "tokens_per_minute": 1000.0}
    decoder = ToyDecoder("a", steps=10, fault=InjectedFault(Pause(), after=4))
    async with orchestrator(decoder, **limits) as motet:
        async with aclosing(motet.generate(request_of())) as events:
            async for event in events:
                if isinstance(event.payload, PartProgress) and event.payload.step == 4:
                    break
        await wait_idle(motet)
        left = await remaining(motet)

        assert left["decoder_seconds_per_minute/a"] < 1000
        assert left["tokens_per_minute"] < 1000


@in_virtual_time
async def test_a_caller_that_hangs_up_at_the_first_word_pays_for_its_prompt() -> None:
    async with orchestrator(tokens_per_minute=1000.0) as motet:
        async with aclosing(motet.generate(request_of("a" * 1600))) as events:
            async for event in events:
                if isinstance(event.payload, PartDelta):
                    break
        await wait_idle(motet)

        assert (await remaining(motet))["tokens_per_minute"] == pytest.approx(600, abs=20)


async def hang_up_after_a_second(motet: AnonymousOrchestrator, *parts: str | Media) -> dict[str, float]:
    """Start a generation, hang up after a second, and return what is left of the quotas."""
    async with aclosing(motet.generate(request_of(*parts))) as events:
        await anext(events)
        await asyncio.sleep(1)
    await wait_idle(motet)
    return await remaining(motet)


@in_virtual_time
async def test_a_caller_that_hangs_up_before_the_first_word_pays_for_the_prompt_that_a_model_had() -> None:
    async with orchestrator(script=script_of(Pause(), "late"), tokens_per_minute=1000.0) as motet:
        left = await hang_up_after_a_second(motet, "a" * 1600)

    assert left["tokens_per_minute"] == pytest.approx(600, abs=1)


@in_virtual_time
async def test_a_prompt_costs_nothing_if_the_model_fails_before_the_first_word() -> None:
    class BrokenModel:
        async def generate(self, prompt: Any, deadline: Any) -> Any:
            raise FaultError("broken")
            yield

    async with orchestrator(script=BrokenModel(), tokens_per_minute=1000.0) as motet:
        assert record_of(await run_generation(motet)).state is State.FAILED
        assert (await remaining(motet))["tokens_per_minute"] == 1000


def with_encoder(delay: float, limit: float) -> AnonymousOrchestrator:
    classes = {"default": QuotaLimits(encoder_seconds_per_minute=limit)}
    return orchestrator_of(script_of("text"), encoder=ToyEncoder(delay=delay), quotas=lambda: classes)


@in_virtual_time
async def test_media_of_prompts_beyond_the_encoder_seconds_are_refused_and_text_is_not() -> None:
    async with with_encoder(delay=0.5, limit=0.1) as motet:
        request = request_of("text", Media("x/a", b"a"))
        await run_generation(motet, request)
        with pytest.raises(OverloadedError) as failure:
            await run_generation(motet, request)

        assert failure.value.reason is Reason.QUOTA_EXCEEDED
        assert failure.value.metadata["quota"] == "encoder_seconds_per_minute"
        assert record_of(await run_generation(motet)).state is State.SUCCEEDED
        await asyncio.sleep(failure.value.retry_after)
        assert record_of(await run_generation(motet, request)).state is State.SUCCEEDED


@in_virtual_time
async def test_media_whose_encoding_is_cancelled_cost_their_predicted_seconds() -> None:
    async with with_encoder(delay=100, limit=1000) as motet:
        # The prediction is a second for each medium before one was measured.
        left = await hang_up_after_a_second(motet, Media("x/a", b"a"), Media("x/b", b"b"))

    assert left["encoder_seconds_per_minute"] == pytest.approx(998)


@in_virtual_time
async def test_media_from_the_cache_cost_nothing() -> None:
    async with orchestrator(ToyDecoder("a", delay=0.1), decoder_seconds_per_minute={"a": 1000.0}) as motet:
        await run_generation(motet)
        first = (await remaining(motet))["decoder_seconds_per_minute/a"]
        await run_generation(motet)

        assert first < 1000
        assert (await remaining(motet))["decoder_seconds_per_minute/a"] >= first


@in_virtual_time
async def test_uploads_beyond_the_stored_bytes_are_refused_until_one_is_deleted() -> None:
    async with orchestrator(artifact_bytes=100) as motet:
        tenant, other = as_tenant(motet, "t"), as_tenant(motet, "other")
        artifact = await tenant.upload(Media("x/a", bytes(60)))
        assert (await remaining(tenant))["artifact_bytes"] == 40
        with pytest.raises(OverloadedError) as failure:
            await tenant.upload(Media("x/a", bytes(41)))

        assert failure.value.metadata["quota"] == "artifact_bytes"
        with pytest.raises(OverloadedError):
            # It is refused before it is read.
            await tenant.upload(Media("x/unknown", bytes(41)))
        assert await other.upload(Media("x/a", bytes(100)))
        await tenant.delete(artifact.name)
        assert (await remaining(tenant))["artifact_bytes"] == 100
        assert await tenant.upload(Media("x/a", bytes(100)))


@pytest.mark.parametrize("size", [60, 2 * MAX_INLINE_BYTES])
async def test_uploads_at_the_same_time_cannot_exceed_the_stored_bytes(size: int) -> None:
    async with orchestrator(artifact_bytes=size + size // 2) as motet:
        uploads = (motet.upload(Media("x/a", bytes(size))) for _ in range(3))
        results = await asyncio.gather(*uploads, return_exceptions=True)

        assert sum(isinstance(result, OverloadedError) for result in results) == 2
        assert (await remaining(motet))["artifact_bytes"] == size // 2


@in_virtual_time
async def test_a_repeated_request_follows_its_generation_although_the_quota_is_used_up() -> None:
    request = request_of(request_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    async with orchestrator(generations_per_minute=1) as motet:
        first = await run_generation(motet, request)
        again = await run_generation(motet, request)

        assert record_of(again).name == record_of(first).name
        assert (await refusal(motet)).reason is Reason.QUOTA_EXCEEDED


@in_virtual_time
async def test_without_a_file_of_quotas_nothing_is_limited() -> None:
    async with orchestrator_of(SCRIPT) as motet:
        assert await motet.quotas() == []
