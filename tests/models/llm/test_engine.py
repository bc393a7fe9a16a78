"""The engine's own promises; what one answer is like is in test_llm.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest
import torch
from prometheus_client import REGISTRY

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, RetryableError
from motet.core.workers import Finished, LanguageEvent, Prompt, Signal, SignalStarted, TextPiece, Turn
from motet.models.arrays import to_torch
from motet.models.event_queue import EventQueue
from motet.models.llm.attention import TokenRange
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from motet.models.llm.network import BLOCK
from motet.models.llm.response_state import ResponseState
from motet.models.llm.tokenized_prompt import TokenizedPrompt
from tests.models.llm.reading import passes_of
from tests.models.tiny_bundle import RUNS, WIDTH, tiny_bundle

POSITIONS = 200
PLENTY = dict.fromkeys(RUNS, 100)
LONG = "x y z " * 20

Load = Callable[..., LlamaLanguageModel]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), POSITIONS, {"image": 4, "audio": 24})


@pytest.fixture
def load(bundle: Bundle) -> Iterator[Load]:
    """Loads the model with a budget of its own; each is closed at the end."""
    loaded: list[LlamaLanguageModel] = []

    def load(**budget: int) -> LlamaLanguageModel:
        loaded.append(load_language_model(bundle, EngineConfig(**budget)))
        return loaded[-1]

    yield load
    for model in loaded:
        model.close()


def asking(text: str, **more: object) -> Prompt:
    return Prompt((Turn("user", (text,)),), **{"max_tokens": 20, **more})  # type: ignore[arg-type]


async def answer(model: LlamaLanguageModel, prompt: Prompt) -> list[LanguageEvent]:
    return [event async for event in model.generate(prompt, Deadline.after(30))]


async def answers(model: LlamaLanguageModel, prompts: list[Prompt]) -> list[list[LanguageEvent]]:
    return await asyncio.gather(*(answer(model, prompt) for prompt in prompts))


def said(events: list[LanguageEvent]) -> list[object]:
    """What the tokens of an answer show as: its text and what it asks for, without what that means."""
    return [event.modality if isinstance(event, Signal) else event for event in events]


def mixed() -> list[Prompt]:
    """Eight prompts of which no two are alike in length, seed or greed."""
    return [
        asking("word " * (3 * i + 1), ceilings=PLENTY, max_tokens=30 + 9 * i, temperature=0.6 * (i % 3), seed=i)
        for i in range(8)
    ]


async def test_an_answer_is_the_same_alone_and_among_eight_of_mixed_lengths(load: Load) -> None:
    model = load()
    alone = [await answer(model, prompt) for prompt in mixed()]
    together = await answers(model, mixed())

    assert [said(events) for events in together] == [said(events) for events in alone]
    for one, other in zip(alone, together, strict=True):
        for event, same in zip(one, other, strict=True):
            if isinstance(event, Signal) and isinstance(same, Signal):
                difference = to_torch(event.conditioning) - to_torch(same.conditioning)
                assert difference.abs().max() <= 1e-4
    assert sum(isinstance(event, Signal) for events in alone for event in events) >= 8


async def test_answers_that_are_written_at_once_share_passes(load: Load) -> None:
    model = load()
    prompts = [asking(text, max_tokens=40) for text in "abcdefgh"]
    with passes_of(model._voice.llama) as alone:
        await answer(model, prompts[0])
    with passes_of(model._voice.llama) as together:
        await answers(model, prompts)

    assert len(alone) == 40
    assert len(together) <= 44


async def test_a_run_of_24_tokens_takes_one_pass_and_is_told_after_it(load: Load) -> None:
    model = load()
    told: list[tuple[int, LanguageEvent]] = []
    with passes_of(model._voice.llama) as passes:
        prompt = asking("play", ceilings={"audio": 1}, max_tokens=60, temperature=5.0, seed=3)
        async for event in model.generate(prompt, Deadline.after(30)):
            told.append((len(passes), event))

    runs = [[place.count for place in places] for places in passes if any(place.count == 24 for place in places)]
    assert runs == [[24]]
    # All its tokens but the first, which no pass was needed for beyond the one it was sampled in, were saved.
    finished = told[-1][1]
    assert isinstance(finished, Finished)
    assert len(passes) == finished.output_tokens - 23
    assert [type(event) for _, event in told if not isinstance(event, TextPiece)] == [SignalStarted, Signal, Finished]


async def test_a_long_prompt_is_read_in_parts_between_which_others_are_written(load: Load) -> None:
    model = load(pass_tokens=BLOCK)
    with passes_of(model._voice.llama) as passes:
        first = asyncio.create_task(answer(model, asking("hello", max_tokens=60)))
        while not passes:
            await asyncio.sleep(0)
        await answer(model, asking(LONG, max_tokens=5))
        await first

    reading = [places for places in passes if any(place.count == BLOCK for place in places)]
    assert len(reading) >= 3
    assert all(sum(place.count for place in places) <= 2 * BLOCK for places in passes)
    # The other's next token is in each of them.
    assert all(any(place.count == 1 for place in places) for places in reading)


async def test_a_short_prompt_does_not_wait_for_a_long_one_to_be_read(load: Load) -> None:
    model = load(pass_tokens=BLOCK)
    ended: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name, prompt in (("long", LONG), ("short", "hi")):
            task = group.create_task(answer(model, asking(prompt, max_tokens=1)), name=name)
            task.add_done_callback(lambda task: ended.append(task.get_name()))

    assert ended == ["short", "long"]


async def test_answers_wait_when_memory_is_full_and_none_fails(load: Load) -> None:
    prompts = [asking(text, max_tokens=POSITIONS, temperature=1.0, seed=3) for text in ("one", "two", "three")]
    roomy, tight = load(), load(kv_tokens=POSITIONS)
    with passes_of(tight._voice.llama) as passes:
        waited = await answers(tight, prompts)

    assert all(len({place.base for place in places}) == 1 for places in passes)
    assert [said(events) for events in waited] == [said(events) for events in await answers(roomy, prompts)]
    assert tight._engine._cache.used == 0


async def test_memory_is_never_shared_nor_exceeded_and_all_given_back_by_tenants_who_come_and_go(load: Load) -> None:
    model = load(kv_tokens=2 * POSITIONS)
    prompts = [
        asking("word " * i, max_tokens=20 + 15 * (i % 4), temperature=1.0, seed=i, tenant=f"tenant {i % 5}")
        for i in range(20)
    ]
    with passes_of(model._voice.llama) as passes:
        tasks = [asyncio.create_task(answer(model, prompt)) for prompt in prompts]
        while not passes:
            await asyncio.sleep(0)
        for task in tasks[::4]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)

    assert sum(isinstance(events, asyncio.CancelledError) for events in done) <= 5
    assert all(isinstance(events[-1], Finished) for events in done if isinstance(events, list))
    for places in passes:
        # Several blocks of one answer may be in a pass; each ends further on than those before it.
        spans = {place.base: place.base + place.end for place in sorted(places, key=lambda place: place.end)}
        assert all(spans[base] <= following for base, following in pairwise(sorted(spans)))
        assert max(spans.values()) <= 2 * POSITIONS
    assert model._engine._cache.reserve(2 * POSITIONS) is not None
    assert REGISTRY.get_sample_value("motet_llm_kv_tokens_used") == 0
    assert REGISTRY.get_sample_value("motet_llm_sequences_waiting") == 0


async def test_whoever_waits_gives_up_at_his_deadline(load: Load) -> None:
    model = load(kv_tokens=POSITIONS)
    with passes_of(model._voice.llama) as passes:
        first = asyncio.create_task(answer(model, asking("one", max_tokens=POSITIONS)))
        while not passes:
            await asyncio.sleep(0)
        with pytest.raises(DeadlineError):
            await anext(model.generate(asking("two", max_tokens=POSITIONS), Deadline.after(0.01)))

    assert not first.done()
    assert isinstance((await first)[-1], Finished)


async def test_whoever_waits_may_leave(load: Load) -> None:
    model = load(kv_tokens=POSITIONS)
    with passes_of(model._voice.llama) as passes:
        texts = ("one", "two", "three", "four")
        tasks = [asyncio.create_task(answer(model, asking(text, max_tokens=POSITIONS))) for text in texts]
        while not passes:
            await asyncio.sleep(0)
    tasks[2].cancel()

    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(done[2], asyncio.CancelledError)
    for index in (0, 1, 3):
        assert done[index] == await answer(model, asking(texts[index], max_tokens=POSITIONS))


async def test_the_more_urgent_is_written_first_when_memory_is_free(load: Load) -> None:
    model = load(kv_tokens=POSITIONS)
    order: list[int] = []

    async def one(priority: int) -> None:
        await answer(model, asking(str(priority), max_tokens=POSITIONS, priority=priority))
        order.append(priority)

    with passes_of(model._voice.llama) as passes:
        first = asyncio.create_task(one(0))
        while not passes:
            await asyncio.sleep(0)
        await asyncio.gather(first, one(1), one(3), one(2))

    # Whoever is being written is not interrupted.
    assert order == [0, 3, 2, 1]


async def test_an_answer_that_fails_harms_no_other(load: Load) -> None:
    model = load()
    expected = await answer(model, asking("hello", max_tokens=60))
    beyond = TokenizedPrompt(torch.tensor([1, 2, 100_000]), (), torch.zeros(0, WIDTH))
    events: EventQueue[list[LanguageEvent]] = EventQueue()

    good = asyncio.create_task(answer(model, asking("hello", max_tokens=60)))
    await asyncio.sleep(0.01)
    model._engine.join(ResponseState(model._voice, beyond, asking("")), Deadline.never(), events)

    with pytest.raises(IndexError):
        await anext(events)
    assert await good == expected


async def test_a_pass_that_fails_is_made_again_without_whom_it_failed_for(load: Load) -> None:
    model = load()
    prompts = [asking(text, max_tokens=30) for text in ("one", "two", "three")]
    expected = [await answer(model, prompt) for prompt in prompts]
    llama = model._voice.llama
    forward = llama.forward
    second = len(model._scriptwriter.write(prompts[0].turns, POSITIONS).ids) + 30

    def failing(embedded: torch.Tensor, places: list[TokenRange], *rest: Any) -> torch.Tensor:
        if any(place.base == second and place.start > 20 for place in places):
            raise MemoryError("too many")
        return forward(embedded, places, *rest)

    llama.forward = failing  # type: ignore[method-assign, assignment]
    try:
        done = await asyncio.gather(*(answer(model, prompt) for prompt in prompts), return_exceptions=True)
    finally:
        llama.forward = forward  # type: ignore[method-assign]

    assert isinstance(done[1], MemoryError)
    assert [done[0], done[2]] == [expected[0], expected[2]]


async def test_what_scripts_begin_with_is_read_once(load: Load) -> None:
    model = load()
    turns = (Turn("user", ("look " * 20,)), Turn("assistant", ("I see. " * 8,)), Turn("user", ("what?",)))
    first, third = Prompt(turns[:1], max_tokens=5), Prompt(turns, PLENTY, max_tokens=40)
    fresh = await answer(load(), third)
    await answer(model, first)

    with passes_of(model._voice.llama) as passes:
        shared = await answer(model, third)

    length = len(model._scriptwriter.write(turns, POSITIONS - 1).ids)
    begun = len(model._scriptwriter.write(turns[:1], POSITIONS - 1).ids)
    fed = [place for places in passes for place in places if place.end <= length]
    assert BLOCK <= fed[0].start <= begun
    assert sum(place.count for place in fed) == length - fed[0].start
    assert said(shared) == said(fresh)


async def test_equal_scripts_that_come_at_once_are_read_once(load: Load) -> None:
    model = load()
    with passes_of(model._voice.llama) as passes:
        first, second = await answers(model, [asking(LONG, max_tokens=4)] * 2)

    length = len(model._scriptwriter.write(asking(LONG).turns, POSITIONS - 1).ids)
    blocks = sum(place.count == BLOCK for places in passes for place in places)
    assert first == second
    assert blocks == length // BLOCK


async def test_what_is_shared_is_not_shared_by_scripts_with_other_media(load: Load) -> None:
    ids = torch.arange(1, 2 * BLOCK)

    def script(place: int, value: float) -> TokenizedPrompt:
        return TokenizedPrompt(ids, (place,), torch.full((1, WIDTH), value))

    names = [script(*each).blocks(BLOCK)[0] for each in ((3, 0.0), (3, 1.0), (4, 0.0))]
    assert len(set(names)) == 3
    assert script(3, 0.0).blocks(BLOCK) == script(3, 0.0).blocks(BLOCK)


async def test_closing_the_model_ends_what_is_being_written(load: Load) -> None:
    model = load()
    events = model.generate(asking("hello", max_tokens=150), Deadline.never())
    async with aclosing(events):
        await anext(events)
        await asyncio.to_thread(model.close)
        with pytest.raises(RetryableError, match="closing"):
            async for _ in events:
                pass

    with pytest.raises(RetryableError, match="closing"):
        await answer(model, asking("hello"))


async def test_nothing_is_left_of_an_answer_once_its_generator_is_closed(load: Load) -> None:
    model = load()
    async with aclosing(model.generate(asking("hello", max_tokens=150), Deadline.never())) as events:
        await anext(events)
        assert model._engine._cache.used > 0

    assert model._engine._cache.used == 0


def test_a_budget_has_room_for_one_whole_conversation_at_least() -> None:
    assert EngineConfig(kv_tokens=10).answers(100) == 100
    assert EngineConfig(kv_tokens=800).answers(100) == 800
    assert EngineConfig().answers(100) > EngineConfig().prefixes(100) > 100
    assert EngineConfig(prefix_tokens=0).prefixes(100) == 0


async def test_nothing_is_shared_where_no_memory_is_given_for_it(load: Load) -> None:
    model = load(prefix_tokens=0)
    first = await answer(model, asking(LONG, max_tokens=4))
    with passes_of(model._voice.llama) as passes:
        second = await answer(model, asking(LONG, max_tokens=4))

    assert passes[0][0].start == 0
    assert first == second
