"""Tests of sequences in the engine: waiting for memory, cancellation, deadlines, errors and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from prometheus_client import REGISTRY

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, OverloadedError, Reason, RetryableError
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, StageTimer
from motet.core.workers import Finished, LanguageEvent
from motet.models.event_queue import EventQueue
from motet.models.llm.language_model import LlamaLanguageModel
from motet.models.llm.layers.attention import TokenRange
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from motet.models.llm.response_state import ResponseState
from tests.models.llm.engines import (
    POSITIONS,
    Load,
    first_forward,
    generate,
    generate_all,
    prompt_of,
    without_conditioning,
)
from tests.models.llm.forwards import recorded_forwards
from tests.models.tiny_bundle import WIDTH


@contextmanager
def failing_forwards(
    model: LlamaLanguageModel, fails: Callable[[TokenRange], bool], error: Exception
) -> Iterator[None]:
    """Raise `error` in each forward with a token range for which `fails` is true."""
    llama = model._context.llama
    forward = llama.forward

    def failing(embedded: torch.Tensor, ranges: Sequence[TokenRange], *rest: Any) -> torch.Tensor:
        if any(map(fails, ranges)):
            raise error
        return forward(embedded, ranges, *rest)

    llama.forward = failing  # type: ignore[method-assign]
    try:
        yield
    finally:
        llama.forward = forward  # type: ignore[method-assign]


async def test_sequences_wait_while_the_kv_cache_is_full_and_none_fails(load: Load) -> None:
    prompts = [prompt_of(text, max_tokens=POSITIONS, temperature=1.0, seed=3) for text in ("one", "two", "three")]
    large, small = load(), load(kv_tokens=POSITIONS)
    with recorded_forwards(small._context.llama) as forwards:
        responses = await generate_all(small, prompts)

    assert all(len({tokens.base for tokens in ranges}) == 1 for ranges in forwards)
    expected = await generate_all(large, prompts)
    assert [without_conditioning(events) for events in responses] == [without_conditioning(each) for each in expected]
    assert small._engine._cache.used == 0


async def test_slots_never_overlap_and_all_are_released_when_tenants_come_and_go(load: Load) -> None:
    model = load(kv_tokens=2 * POSITIONS)
    prompts = [
        prompt_of("word " * i, max_tokens=20 + 15 * (i % 4), temperature=1.0, seed=i, tenant=f"tenant {i % 5}")
        for i in range(20)
    ]
    with recorded_forwards(model._context.llama) as forwards:
        tasks = [asyncio.create_task(generate(model, prompt)) for prompt in prompts]
        await first_forward(forwards)
        for task in tasks[::4]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert sum(isinstance(result, asyncio.CancelledError) for result in results) <= 5
    assert all(isinstance(result[-1], Finished) for result in results if isinstance(result, list))
    for ranges in forwards:
        # A forward may contain several blocks of one sequence. The last block has the highest end.
        ends = {tokens.base: tokens.base + tokens.end for tokens in sorted(ranges, key=lambda tokens: tokens.end)}
        assert all(ends[base] <= following for base, following in pairwise(sorted(ends)))
        assert max(ends.values()) <= 2 * POSITIONS
    assert model._engine._cache.reserve(2 * POSITIONS) is not None
    assert REGISTRY.get_sample_value("motet_llm_kv_tokens_used") == 0
    assert REGISTRY.get_sample_value("motet_llm_sequences_waiting") == 0


async def test_a_waiting_sequence_stops_at_its_deadline(load: Load) -> None:
    model = load(kv_tokens=POSITIONS)
    with recorded_forwards(model._context.llama) as forwards:
        first = asyncio.create_task(generate(model, prompt_of("one", max_tokens=POSITIONS)))
        await first_forward(forwards)
        with pytest.raises(DeadlineError):
            await anext(model.generate(prompt_of("two", max_tokens=POSITIONS), Deadline.after(0.01)))

    assert not first.done()
    assert isinstance((await first)[-1], Finished)


async def test_a_waiting_sequence_can_be_cancelled(load: Load) -> None:
    model = load(kv_tokens=POSITIONS)
    with recorded_forwards(model._context.llama) as forwards:
        texts = ("one", "two", "three", "four")
        tasks = [asyncio.create_task(generate(model, prompt_of(text, max_tokens=POSITIONS))) for text in texts]
        await first_forward(forwards)
    tasks[2].cancel()

    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(results[2], asyncio.CancelledError)
    for index in (0, 1, 3):
        assert results[index] == await generate(model, prompt_of(texts[index], max_tokens=POSITIONS))


async def test_the_waiting_sequence_of_highest_priority_starts_first(load: Load) -> None:
    model = load(kv_tokens=POSITIONS)
    finished: list[int] = []

    async def run(priority: int) -> None:
        await generate(model, prompt_of(str(priority), max_tokens=POSITIONS, priority=priority))
        finished.append(priority)

    with recorded_forwards(model._context.llama) as forwards:
        first = asyncio.create_task(run(0))
        await first_forward(forwards)
        await asyncio.gather(first, run(-1), run(2), run(1))

    # A running sequence is not preempted.
    assert finished == [0, 2, 1, -1]


async def test_a_sequence_that_fails_does_not_affect_other_sequences(load: Load) -> None:
    model = load()
    expected = await generate(model, prompt_of("hello", max_tokens=60))
    invalid = TokenizedPrompt(torch.tensor([1, 2, 100_000]), (), torch.zeros(0, WIDTH))
    events: EventQueue[list[LanguageEvent]] = EventQueue()

    valid = asyncio.create_task(generate(model, prompt_of("hello", max_tokens=60)))
    await asyncio.sleep(0.01)
    stages = StageTimer(ServiceKind.LANGUAGE_MODEL, "text", Stage.PREPROCESS)
    model._engine.add(ResponseState(model._context, invalid, prompt_of("")), Deadline.never(), events, stages)

    with pytest.raises(IndexError):
        await anext(events)
    assert await valid == expected


async def test_a_forward_that_fails_is_repeated_without_the_sequence_at_fault(load: Load) -> None:
    model = load()
    prompts = [prompt_of(text, max_tokens=30) for text in ("one", "two", "three")]
    expected = [await generate(model, prompt) for prompt in prompts]
    second = len(model._prompt_builder.build(prompts[0].turns, POSITIONS)) + 30

    def fails(tokens: TokenRange) -> bool:
        return tokens.base == second and tokens.start > 20

    with failing_forwards(model, fails, MemoryError("too many")):
        results = await asyncio.gather(*(generate(model, prompt) for prompt in prompts), return_exceptions=True)

    assert isinstance(results[1], MemoryError)
    assert [results[0], results[2]] == [expected[0], expected[2]]


async def test_a_sequence_that_runs_out_of_gpu_memory_is_refused_and_may_be_retried(load: Load) -> None:
    model = load()
    prompt = prompt_of("hello", max_tokens=5)
    with (
        failing_forwards(model, lambda tokens: True, torch.OutOfMemoryError("CUDA out of memory")),
        pytest.raises(OverloadedError, match="the language model ran out of GPU memory") as caught,
    ):
        await generate(model, prompt)

    assert caught.value.reason is Reason.OUT_OF_MEMORY
    assert model._engine._cache.used == 0
    assert isinstance((await generate(model, prompt))[-1], Finished)


async def test_closing_the_model_stops_running_sequences_and_refuses_new_ones(load: Load) -> None:
    model = load()
    events = model.generate(prompt_of("hello", max_tokens=150), Deadline.never())
    async with aclosing(events):
        await anext(events)
        await asyncio.to_thread(model.close)
        with pytest.raises(RetryableError, match="closing"):
            async for _ in events:
                pass

    with pytest.raises(RetryableError, match="closing"):
        await generate(model, prompt_of("hello"))


async def test_closing_the_generator_releases_the_slot(load: Load) -> None:
    model = load()
    async with aclosing(model.generate(prompt_of("hello", max_tokens=150), Deadline.never())) as events:
        await anext(events)
        assert model._engine._cache.used > 0

    assert model._engine._cache.used == 0
