import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest
import torch

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, Reason, RequestError
from motet.core.tensors import Tensor
from motet.core.workers import (
    Embedding,
    Finished,
    LanguageEvent,
    Prompt,
    Signal,
    SignalStarted,
    TextPiece,
    Turn,
)
from motet.models.arrays import from_torch
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from motet.models.llm.loading import load_llama
from tests.models.llm.reading import passes_of, read
from tests.models.tiny_bundle import RUNS, SHAPES, WIDTH, tiny_bundle

PLENTY = dict.fromkeys(RUNS, 100)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As a service computes unless told otherwise; products that several threads share differ with their size."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Iterator[LlamaLanguageModel]:
    # Random weights write random tokens, signals among them, and as good as never stop.
    model = load_language_model(bundle)
    yield model
    model.close()


def asked(*parts: str | Embedding) -> tuple[Turn, ...]:
    return (Turn("user", parts),)


def embedding(value: float) -> Embedding:
    return Embedding("image", from_torch(torch.full((WIDTH,), value)))


async def answer(model: LlamaLanguageModel, prompt: Prompt) -> list[LanguageEvent]:
    return [event async for event in model.generate(prompt, Deadline.after(30))]


async def test_an_answer_ends_with_one_finished_event_that_counts_its_tokens(model: LlamaLanguageModel) -> None:
    events = await answer(model, Prompt(asked("hello"), max_tokens=20))

    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    assert events[-1].output_tokens == 20
    assert not any(isinstance(event, Finished) for event in events[:-1])


async def test_every_run_that_starts_is_whole_and_has_the_decoders_shape(model: LlamaLanguageModel) -> None:
    events = await answer(model, Prompt(asked("hello"), PLENTY, max_tokens=80, temperature=3.0, seed=1))
    started = [i for i, event in enumerate(events) if isinstance(event, SignalStarted)]

    assert len(started) >= 2
    for index in started:
        signal = events[index + 1]
        assert isinstance(signal, Signal)
        assert signal.modality == events[index].modality
        assert list(signal.conditioning.shape) == SHAPES[signal.modality]


async def test_no_modality_is_asked_for_beyond_its_ceiling(model: LlamaLanguageModel) -> None:
    for ceilings in ({}, {"image": 1}, {"audio": 2}):
        prompt = Prompt(asked("hello"), ceilings, max_tokens=80, temperature=3.0, seed=1)
        events = await answer(model, prompt)

        made = [event.modality for event in events if isinstance(event, SignalStarted)]
        assert made == [name for name, ceiling in ceilings.items() for _ in range(ceiling)]


async def test_a_run_that_would_not_fit_is_not_begun(model: LlamaLanguageModel) -> None:
    for tokens in range(1, 12):
        prompt = Prompt(asked("hello"), PLENTY, max_tokens=tokens, temperature=5.0, seed=3)
        events = await answer(model, prompt)

        finished = events[-1]
        assert isinstance(finished, Finished)
        assert finished.output_tokens <= tokens


async def test_the_same_prompt_and_seed_give_the_same_events(model: LlamaLanguageModel) -> None:
    prompt = Prompt(asked("hello"), PLENTY, max_tokens=60, temperature=2.0, seed=5)
    first, second = await answer(model, prompt), await answer(model, prompt)
    other = await answer(model, Prompt(asked("hello"), PLENTY, max_tokens=60, temperature=2.0, seed=6))

    assert first == second
    assert first != other


async def test_answers_that_are_written_at_once_are_those_written_alone(model: LlamaLanguageModel) -> None:
    prompts = [Prompt(asked(text), PLENTY, max_tokens=30) for text in ("one", "two", "three")]
    alone = [await answer(model, prompt) for prompt in prompts]

    assert await asyncio.gather(*(answer(model, prompt) for prompt in prompts)) == alone


async def test_what_is_attached_changes_the_answer(model: LlamaLanguageModel) -> None:
    said = [await answer(model, Prompt(asked(embedding(value), "what?"), max_tokens=20)) for value in (-3.0, 3.0)]

    assert said[0] != said[1]


async def test_a_run_fed_in_one_pass_means_the_same_as_one_fed_token_by_token(bundle: Bundle) -> None:
    llama = load_llama(bundle)
    script, run = [1, 2, 3, 4], list(bundle.manifest.grammar.run_of("audio").ids)
    together, apart = llama.cache(96), llama.cache(96)
    read(llama, llama.embed(script), together)
    read(llama, llama.embed(script), apart)

    whole = read(llama, llama.embed(run), together, len(script))
    steps = [read(llama, llama.embed([token]), apart, len(script) + i) for i, token in enumerate(run)]

    torch.testing.assert_close(whole.states, torch.cat([step.states for step in steps]))
    torch.testing.assert_close(whole.logits, steps[-1].logits)
    # The last token's own state counts, so it must have been fed.
    assert len(whole.states) == len(run)


@pytest.mark.parametrize("spelling", ["[image0]", "[IMG0]", "<Img>", "</Img>", "<s>", "### Human:", "</s>"])
async def test_text_that_spells_a_control_token_is_read_as_text(bundle: Bundle, spelling: str) -> None:
    model = load_language_model(bundle)
    script = model._scriptwriter.write(asked(f"say {spelling} twice"), 90)

    beginning = bundle.manifest.language_model.first_control - 2
    assert script.ids[0] == beginning
    assert int(script.ids[1:].max()) < beginning
    assert f"say {spelling} twice" in model._voice.codec.decode(script.ids[1:].tolist())
    model.close()


async def test_earlier_media_of_the_assistant_reappear_as_their_signal_run(bundle: Bundle) -> None:
    model = load_language_model(bundle)
    made = Embedding("audio", Tensor("float32", (0,), b""))
    turns = (Turn("user", ("play",)), Turn("assistant", ("This is it.", made)), Turn("user", ("again",)))

    ids = model._scriptwriter.write(turns, 90).ids.tolist()

    run = list(bundle.manifest.grammar.run_of("audio").ids)
    assert any(ids[i : i + len(run)] == run for i in range(len(ids)))
    model.close()


async def test_a_long_conversation_forgets_its_oldest_exchanges(model: LlamaLanguageModel) -> None:
    old = (Turn("user", ("x " * 30,)), Turn("assistant", ("y " * 30,)))
    forgotten = await answer(model, Prompt((*old, *asked("and now?")), max_tokens=20))
    fresh = await answer(model, Prompt(asked("and now?"), max_tokens=20))

    assert forgotten == fresh


async def test_a_turn_that_is_too_long_is_refused_with_its_length(model: LlamaLanguageModel) -> None:
    with pytest.raises(RequestError, match="at most 95 are read: shorten it") as caught:
        await answer(model, Prompt(asked("x " * 100)))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(()), "must end with a user's turn"),
        (Prompt((Turn("user", ("a",)), Turn("assistant", ("b",)))), "must end with a user's turn"),
        (Prompt(asked("a"), max_tokens=0), "max_tokens must be 1 or more"),
        (Prompt(asked("a"), temperature=-1.0), "temperature must be from 0 to 10"),
        (Prompt(asked("a"), temperature=float("nan")), "temperature must be from 0 to 10"),
        (Prompt(asked("a"), top_p=0.0), "top_p must be above 0"),
        (Prompt(asked(Embedding("image", Tensor("float32", (1,), b"\0" * 4)))), "use this bundle's encoder"),
    ],
)
async def test_an_impossible_prompt_is_refused(model: LlamaLanguageModel, prompt: Prompt, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        await answer(model, prompt)


async def test_a_deadline_that_has_passed_stops_the_answer(model: LlamaLanguageModel) -> None:
    with pytest.raises(DeadlineError):
        await anext(model.generate(Prompt(asked("hello")), Deadline.after(0)))


async def test_closing_the_generator_stops_it_within_one_token(model: LlamaLanguageModel) -> None:
    with passes_of(model._voice.llama) as passes:
        async with aclosing(model.generate(Prompt(asked("hello"), max_tokens=80), Deadline.never())) as events:
            await anext(events)
        seen = len(passes)
        await asyncio.sleep(0.05)

    assert len(passes) == seen


async def test_cancelling_the_task_stops_it_within_one_token(model: LlamaLanguageModel) -> None:
    with passes_of(model._voice.llama) as passes:
        task = asyncio.create_task(answer(model, Prompt(asked("hello"), max_tokens=80)))
        while not passes:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = len(passes)
        await asyncio.sleep(0.05)

    assert len(passes) <= seen + 1


async def test_the_event_loop_goes_on_while_the_network_computes(model: LlamaLanguageModel) -> None:
    task = asyncio.create_task(answer(model, Prompt(asked("hello"), max_tokens=60)))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1

    # Were the network run on the loop, it would turn about once a token.
    assert turns > 200


async def test_pieces_of_text_are_never_empty(model: LlamaLanguageModel) -> None:
    events = await answer(model, Prompt(asked("hello"), PLENTY, max_tokens=80, temperature=2.0, seed=2))

    assert all(event.text for event in events if isinstance(event, TextPiece))
