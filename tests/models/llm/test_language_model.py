import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest
import torch

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, Reason, RequestError
from motet.core.events import TEXT
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.tensors import Tensor
from motet.core.workers import (
    Embedding,
    Finished,
    Prompt,
    Signal,
    SignalStarted,
    TextPiece,
    Turn,
)
from motet.models.arrays import from_torch
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from motet.models.llm.loading import load_llama
from tests.models.llm.engines import NO_CEILING, first_forward, generate
from tests.models.llm.forwards import recorded_forwards, run_forward
from tests.models.tiny_bundle import SHAPES, WIDTH, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, the default of a service. Matrix products on several threads depend on the number of rows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Iterator[LlamaLanguageModel]:
    # Random weights generate random tokens, including signals, and almost never stop.
    model = load_language_model(bundle)
    yield model
    model.close()


def user_turn(*parts: str | Embedding) -> tuple[Turn, ...]:
    return (Turn("user", parts),)


def embedding(value: float) -> Embedding:
    return Embedding("image", from_torch(torch.full((WIDTH,), value)))


async def test_a_response_ends_with_one_finished_event_that_counts_its_tokens(model: LlamaLanguageModel) -> None:
    events = await generate(model, Prompt(user_turn("hello"), max_tokens=20))

    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    assert events[-1].output_tokens == 20
    assert not any(isinstance(event, Finished) for event in events[:-1])


async def test_every_run_that_starts_is_complete_and_its_conditioning_has_the_decoders_shape(
    model: LlamaLanguageModel,
) -> None:
    times = collect_compute_times()
    events = await generate(model, Prompt(user_turn("hello"), NO_CEILING, max_tokens=80, temperature=3.0, seed=1))
    requested = {event.modality for event in events if isinstance(event, SignalStarted)}
    assert times.totals().keys() == {(ServiceKind.LANGUAGE_MODEL, modality) for modality in (TEXT, *requested)}
    started = [i for i, event in enumerate(events) if isinstance(event, SignalStarted)]

    assert len(started) >= 2
    for index in started:
        signal = events[index + 1]
        assert isinstance(signal, Signal)
        assert signal.modality == events[index].modality
        assert list(signal.conditioning.shape) == SHAPES[signal.modality]


async def test_no_modality_is_requested_beyond_its_ceiling(model: LlamaLanguageModel) -> None:
    for ceilings in ({}, {"image": 1}, {"audio": 2}):
        prompt = Prompt(user_turn("hello"), ceilings, max_tokens=80, temperature=3.0, seed=1)
        events = await generate(model, prompt)

        modalities = [event.modality for event in events if isinstance(event, SignalStarted)]
        assert modalities == [name for name, ceiling in ceilings.items() for _ in range(ceiling)]


async def test_a_run_that_exceeds_the_remaining_tokens_does_not_start(model: LlamaLanguageModel) -> None:
    for tokens in range(1, 12):
        prompt = Prompt(user_turn("hello"), NO_CEILING, max_tokens=tokens, temperature=5.0, seed=3)
        events = await generate(model, prompt)

        finished = events[-1]
        assert isinstance(finished, Finished)
        assert finished.output_tokens <= tokens


async def test_the_same_prompt_and_seed_give_the_same_events(model: LlamaLanguageModel) -> None:
    prompt = Prompt(user_turn("hello"), NO_CEILING, max_tokens=60, temperature=2.0, seed=5)
    first, second = await generate(model, prompt), await generate(model, prompt)
    other = await generate(model, Prompt(user_turn("hello"), NO_CEILING, max_tokens=60, temperature=2.0, seed=6))

    assert first == second
    assert first != other


async def test_concurrent_responses_are_equal_to_separate_responses(model: LlamaLanguageModel) -> None:
    prompts = [Prompt(user_turn(text), NO_CEILING, max_tokens=30) for text in ("one", "two", "three")]
    alone = [await generate(model, prompt) for prompt in prompts]

    assert await asyncio.gather(*(generate(model, prompt) for prompt in prompts)) == alone


async def test_an_attachment_changes_the_response(model: LlamaLanguageModel) -> None:
    responses = [
        await generate(model, Prompt(user_turn(embedding(value), "what?"), max_tokens=20)) for value in (-3.0, 3.0)
    ]

    assert responses[0] != responses[1]


async def test_a_run_in_one_forward_has_the_same_states_as_a_run_token_by_token(bundle: Bundle) -> None:
    llama = load_llama(bundle)
    prompt, run = [1, 2, 3, 4], list(bundle.manifest.grammar.run_of("audio").ids)
    whole_cache, single_cache = llama.cache(96), llama.cache(96)
    run_forward(llama, llama.embed(prompt), whole_cache)
    run_forward(llama, llama.embed(prompt), single_cache)

    whole = run_forward(llama, llama.embed(run), whole_cache, len(prompt))
    single = [run_forward(llama, llama.embed([token]), single_cache, len(prompt) + i) for i, token in enumerate(run)]

    torch.testing.assert_close(whole.states, torch.cat([result.states for result in single]))
    torch.testing.assert_close(whole.logits, single[-1].logits)
    # The conditioning depends on the state of the last token, so the last token must be fed, too.
    assert len(whole.states) == len(run)


@pytest.mark.parametrize("control_token", ["[image0]", "[IMG0]", "<Img>", "</Img>", "<s>", "### Human:", "</s>"])
async def test_text_that_spells_a_control_token_is_tokenized_as_text(bundle: Bundle, control_token: str) -> None:
    model = load_language_model(bundle)
    prompt_tokens = model._prompt_builder.build(user_turn(f"say {control_token} twice"), 90)

    bos_token_id = bundle.manifest.language_model.first_control - 2
    assert prompt_tokens.ids[0] == bos_token_id
    assert int(prompt_tokens.ids[1:].max()) < bos_token_id
    assert f"say {control_token} twice" in model._context.tokenizer.decode(prompt_tokens.ids[1:].tolist())
    model.close()


async def test_media_of_an_earlier_assistant_turn_become_their_signal_run(bundle: Bundle) -> None:
    model = load_language_model(bundle)
    media = Embedding("audio", Tensor("float32", (0,), b""))
    turns = (Turn("user", ("play",)), Turn("assistant", ("This is it.", media)), Turn("user", ("again",)))

    ids = model._prompt_builder.build(turns, 90).ids.tolist()

    run = list(bundle.manifest.grammar.run_of("audio").ids)
    assert any(ids[i : i + len(run)] == run for i in range(len(ids)))
    model.close()


async def test_a_long_conversation_loses_its_oldest_exchanges_and_the_model_says_so(model: LlamaLanguageModel) -> None:
    old = (Turn("user", ("x " * 30,)), Turn("assistant", ("y " * 30,)))
    truncated = await generate(model, Prompt((*old, *user_turn("and now?")), max_tokens=20))
    expected = await generate(model, Prompt(user_turn("and now?"), max_tokens=20))

    assert isinstance(truncated[-1], Finished)
    assert truncated[-1].omitted_turns == 2
    assert [*truncated[:-1], replace(truncated[-1], omitted_turns=0)] == expected


async def test_a_turn_that_is_too_long_is_refused_with_its_length(model: LlamaLanguageModel) -> None:
    with pytest.raises(RequestError, match="the limit is 95: shorten it") as caught:
        await generate(model, Prompt(user_turn("x " * 100)))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(()), "must end with a user's turn"),
        (Prompt((Turn("user", ("a",)), Turn("assistant", ("b",)))), "must end with a user's turn"),
        (Prompt(user_turn("a"), max_tokens=0), "max_tokens must be from 1"),
        (Prompt(user_turn("a"), temperature=-1.0), "temperature must be from 0 to 5"),
        (Prompt(user_turn("a"), temperature=float("nan")), "temperature must be from 0 to 5"),
        (Prompt(user_turn("a"), top_p=0.0), "top_p must be above 0"),
        (Prompt(user_turn("a"), temperature=float("inf")), "temperature must be from 0 to 5"),
        (Prompt(user_turn("a"), max_tokens=2**31 - 1), "max_tokens must be from 1 to 32768"),
        (Prompt(user_turn("a"), {"image": -1}), "the ceiling of image must be from 0"),
        (Prompt(user_turn("a"), priority=3), "priority must be from -2 to 2"),
        (Prompt(user_turn(embedding(float("nan")))), "not finite"),
        (Prompt(user_turn(Embedding("image", Tensor("float32", (1,), b"\0" * 4)))), "use this bundle's encoder"),
    ],
)
async def test_an_invalid_prompt_is_refused(model: LlamaLanguageModel, prompt: Prompt, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        await generate(model, prompt)


async def test_a_deadline_in_the_past_stops_the_response(model: LlamaLanguageModel) -> None:
    with pytest.raises(DeadlineError):
        await anext(model.generate(Prompt(user_turn("hello")), Deadline.after(0)))


async def test_closing_the_generator_stops_the_response_within_one_token(model: LlamaLanguageModel) -> None:
    with recorded_forwards(model._context.llama) as forwards:
        async with aclosing(model.generate(Prompt(user_turn("hello"), max_tokens=80), Deadline.never())) as events:
            await anext(events)
        count = len(forwards)
        await asyncio.sleep(0.05)

    assert len(forwards) == count


async def test_cancelling_the_task_stops_the_response_within_one_token(model: LlamaLanguageModel) -> None:
    with recorded_forwards(model._context.llama) as forwards:
        times = collect_compute_times()
        task = asyncio.create_task(generate(model, Prompt(user_turn("hello"), max_tokens=80)))
        await first_forward(forwards)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert times.totals()[ServiceKind.LANGUAGE_MODEL, TEXT].cpu > 0, "cancelled work counts"
        count = len(forwards)
        await asyncio.sleep(0.05)

    assert len(forwards) <= count + 1


async def test_the_event_loop_is_not_blocked_while_the_network_computes(model: LlamaLanguageModel) -> None:
    task = asyncio.create_task(generate(model, Prompt(user_turn("hello"), max_tokens=60)))
    iterations = 0
    while not task.done():
        await asyncio.sleep(0)
        iterations += 1

    # If the network ran on the event loop, there would be about one iteration per token.
    assert iterations > 200


async def test_text_events_are_never_empty(model: LlamaLanguageModel) -> None:
    events = await generate(model, Prompt(user_turn("hello"), NO_CEILING, max_tokens=80, temperature=2.0, seed=2))

    assert all(event.text for event in events if isinstance(event, TextPiece))
