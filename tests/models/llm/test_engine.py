"""Tests of batching, scheduling and prefix caching in the engine. `test_language_model.py` tests single responses."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import torch

from motet.core.deadline import Deadline
from motet.core.workers import Finished, LanguageEvent, Prompt, Signal, SignalStarted, TextPiece, Turn
from motet.models.arrays import to_torch
from motet.models.llm.config import EngineConfig
from motet.models.llm.network import BLOCK_SIZE
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from tests.models.llm.engines import (
    LONG_TEXT,
    NO_CEILING,
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


def mixed_prompts() -> list[Prompt]:
    """Return eight prompts that differ in length, temperature and seed."""
    return [
        prompt_of("word " * (3 * i + 1), ceilings=NO_CEILING, max_tokens=30 + 9 * i, temperature=0.6 * (i % 3), seed=i)
        for i in range(8)
    ]


async def test_a_response_is_the_same_alone_and_in_a_batch_of_mixed_lengths(load: Load) -> None:
    model = load()
    alone = [await generate(model, prompt) for prompt in mixed_prompts()]
    batched = await generate_all(model, mixed_prompts())

    assert [without_conditioning(events) for events in batched] == [without_conditioning(events) for events in alone]
    for expected_events, events in zip(alone, batched, strict=True):
        for expected, event in zip(expected_events, events, strict=True):
            if isinstance(expected, Signal) and isinstance(event, Signal):
                difference = to_torch(expected.conditioning) - to_torch(event.conditioning)
                assert difference.abs().max() <= 1e-4
    assert sum(isinstance(event, Signal) for events in alone for event in events) >= 8


async def test_concurrent_responses_share_forwards(load_text_model: Load) -> None:
    model = load_text_model()
    prompts = [prompt_of(text, max_tokens=40) for text in "abcdefgh"]
    with recorded_forwards(model._context.llama) as alone:
        await generate(model, prompts[0])
    with recorded_forwards(model._context.llama) as batched:
        await generate_all(model, prompts)

    assert len(alone) == 40
    assert len(batched) <= 44


async def test_a_run_of_24_tokens_takes_one_forward_and_its_signal_follows(load: Load) -> None:
    model = load()
    received: list[tuple[int, LanguageEvent]] = []
    with recorded_forwards(model._context.llama) as forwards:
        prompt = prompt_of("play", ceilings=NO_CEILING, max_tokens=40, temperature=5.0, seed=28)
        async for event in model.generate(prompt, Deadline.after(30)):
            received.append((len(forwards), event))

    runs = [[tokens.count for tokens in ranges] for ranges in forwards if any(tokens.count == 24 for tokens in ranges)]
    assert runs == [[24]]
    # Every token of the run but the first saves one forward.
    finished = received[-1][1]
    assert isinstance(finished, Finished)
    assert len(forwards) == finished.output_tokens - 23
    assert [type(event) for _, event in received if not isinstance(event, TextPiece)] == [
        SignalStarted,
        Signal,
        Finished,
    ]


async def test_other_sequences_continue_between_the_chunks_of_a_long_prompt(load_text_model: Load) -> None:
    model = load_text_model(max_batched_tokens=BLOCK_SIZE)
    with recorded_forwards(model._context.llama) as forwards:
        first = asyncio.create_task(generate(model, prompt_of("hello", max_tokens=60)))
        await first_forward(forwards)
        await generate(model, prompt_of(LONG_TEXT, max_tokens=5))
        await first

    prefills = [ranges for ranges in forwards if any(tokens.count == BLOCK_SIZE for tokens in ranges)]
    assert len(prefills) >= 3
    assert all(sum(tokens.count for tokens in ranges) <= 2 * BLOCK_SIZE for ranges in forwards)
    # Each of them contains the other sequence's next token.
    assert all(any(tokens.count == 1 for tokens in ranges) for ranges in prefills)


async def test_a_short_prompt_does_not_wait_for_the_prefill_of_a_long_one(load: Load) -> None:
    model = load(max_batched_tokens=BLOCK_SIZE)
    finished: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name, text in (("long", LONG_TEXT), ("short", "hi")):
            task = group.create_task(generate(model, prompt_of(text, max_tokens=1)), name=name)
            task.add_done_callback(lambda task: finished.append(task.get_name()))

    assert finished == ["short", "long"]


async def test_the_common_prefix_of_two_prompts_is_computed_once(load: Load) -> None:
    model = load()
    turns = (Turn("user", ("look " * 15,)), Turn("assistant", ("I see. " * 6,)), Turn("user", ("what?",)))
    first, third = Prompt(turns[:1], max_tokens=5), Prompt(turns, NO_CEILING, max_tokens=20)
    expected = await generate(load(), third)
    await generate(model, first)

    with recorded_forwards(model._context.llama) as forwards:
        events = await generate(model, third)

    length = len(model._prompt_builder.build(turns, POSITIONS - 1))
    prefix_length = len(model._prompt_builder.build(turns[:1], POSITIONS - 1))
    prefills = [tokens for ranges in forwards for tokens in ranges if tokens.end <= length]
    assert BLOCK_SIZE <= prefills[0].start <= prefix_length
    assert sum(tokens.count for tokens in prefills) == length - prefills[0].start
    assert without_conditioning(events) == without_conditioning(expected)


async def test_equal_prompts_that_arrive_at_once_are_computed_once(load: Load) -> None:
    model = load()
    with recorded_forwards(model._context.llama) as forwards:
        first, second = await generate_all(model, [prompt_of(LONG_TEXT, max_tokens=4)] * 2)

    length = len(model._prompt_builder.build(prompt_of(LONG_TEXT).turns, POSITIONS - 1))
    blocks = sum(tokens.count == BLOCK_SIZE for ranges in forwards for tokens in ranges)
    assert first == second
    assert blocks == length // BLOCK_SIZE


def test_blocks_with_different_media_have_different_hashes() -> None:
    ids = torch.arange(1, 2 * BLOCK_SIZE)

    def prompt_with(position: int, value: float) -> TokenizedPrompt:
        return TokenizedPrompt(ids, (position,), torch.full((1, WIDTH), value))

    def hash_of(position: int, value: float, tenant: str = "tenant") -> bytes:
        return prompt_with(position, value).block_hashes(BLOCK_SIZE, tenant)[0]

    assert len({hash_of(3, 0.0), hash_of(3, 1.0), hash_of(4, 0.0), hash_of(3, 0.0, tenant="other")}) == 4
    assert hash_of(3, 0.0) == hash_of(3, 0.0)


async def test_a_tenant_gets_no_prefix_of_another_tenants_prompt_and_the_same_answer(load: Load) -> None:
    model = load()
    prompt = prompt_of(LONG_TEXT, max_tokens=4)
    first = await generate(model, prompt)
    with recorded_forwards(model._context.llama) as forwards:
        other = await generate(model, replace(prompt, tenant="other"))

    assert forwards[0][0].start == 0
    assert first == other


async def test_no_prefix_is_cached_if_the_prefix_cache_has_size_zero(load: Load) -> None:
    model = load(prefix_cache_tokens=0)
    first = await generate(model, prompt_of(LONG_TEXT, max_tokens=4))
    with recorded_forwards(model._context.llama) as forwards:
        second = await generate(model, prompt_of(LONG_TEXT, max_tokens=4))

    assert forwards[0][0].start == 0
    assert first == second


def test_the_kv_cache_holds_at_least_one_whole_conversation() -> None:
    assert EngineConfig(kv_tokens=10).kv_cache_size(100) == 100
    assert EngineConfig(kv_tokens=800).kv_cache_size(100) == 800
    assert EngineConfig().kv_cache_size(100) > EngineConfig().prefix_cache_size(100) > 100
    assert EngineConfig(prefix_cache_tokens=0).prefix_cache_size(100) == 0
