"""The model decides which media it requests. The prompt's limits apply after that."""

from collections.abc import Iterator

import pytest
import torch

from motet.core.bundle import Bundle
from motet.core.workers import Finished, LanguageEvent, Prompt, Signal, SignalStarted, SignalSuppressed, Turn
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from tests.models.llm.engines import NO_CEILING, generate, generate_all
from tests.models.tiny_bundle import RUNS, tiny_bundle

HELLO = (Turn("user", ("hello",)),)
SAMPLING = [(0.0, 1.0, 1), (1.0, 0.8, 2), (3.0, 1.0, 3), (3.0, 0.9, 4), (5.0, 1.0, 5)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaLanguageModel]:
    """Return a model with random weights, which requests much media."""
    torch.set_num_threads(1)
    bundle: Bundle = tiny_bundle(tmp_path_factory.mktemp("bundle"), 200)
    model = load_language_model(bundle)
    yield model
    model.close()


def with_ceiling(events: list[LanguageEvent], ceilings: dict[str, int]) -> list[LanguageEvent]:
    """Return the events of a response without ceilings, as they are with ceilings."""
    left, limited = dict(ceilings), list[LanguageEvent]()
    for event in events:
        if isinstance(event, SignalStarted):
            left[event.modality] = left.get(event.modality, 0) - 1
            limited.append(event if left[event.modality] >= 0 else SignalSuppressed(event.modality, "ceiling"))
        elif isinstance(event, SignalSuppressed) and left.get(event.modality, 0) <= 0:
            limited.append(SignalSuppressed(event.modality, "ceiling"))
        elif not isinstance(event, Signal) or left[event.modality] >= 0:
            limited.append(event)
    return limited


@pytest.mark.parametrize(("temperature", "top_p", "seed"), SAMPLING)
async def test_a_ceiling_changes_nothing_but_the_media_beyond_it(
    model: LlamaLanguageModel, temperature: float, top_p: float, seed: int
) -> None:
    sampling = {"max_tokens": 90, "temperature": temperature, "top_p": top_p, "seed": seed}
    free = await generate(model, Prompt(HELLO, NO_CEILING, **sampling))  # type: ignore[arg-type]
    assert any(isinstance(event, Signal) for event in free)

    for ceilings in ({}, {"image": 100}, {"audio": 100}, {"image": 1, "audio": 2}):
        limited = await generate(model, Prompt(HELLO, ceilings, **sampling))  # type: ignore[arg-type]

        assert limited == with_ceiling(free, ceilings)


async def test_a_batch_with_suppressed_signals_is_equal_to_separate_responses(model: LlamaLanguageModel) -> None:
    prompts = [
        Prompt(HELLO, ceilings, max_tokens=40, temperature=3.0, seed=seed)
        for seed, ceilings in enumerate([NO_CEILING, {}, {"audio": 1}, {"image": 1}])
    ]
    alone = [await generate(model, prompt) for prompt in prompts]

    assert await generate_all(model, prompts) == alone


@pytest.mark.parametrize("ceilings", [NO_CEILING, {"image": 1}, {}])
async def test_a_run_that_exceeds_the_remaining_tokens_ends_the_response_and_is_reported(
    model: LlamaLanguageModel, ceilings: dict[str, int]
) -> None:
    reported = 0
    for max_tokens in range(1, 30):
        prompt = Prompt(HELLO, ceilings, max_tokens=max_tokens, temperature=3.0, seed=max_tokens)
        *events, finished = await generate(model, prompt)

        assert isinstance(finished, Finished)
        assert finished.output_tokens <= max_tokens
        assert finished.reason == "length"
        if finished.output_tokens < max_tokens:
            suppressed = events[-1]
            assert isinstance(suppressed, SignalSuppressed)
            assert RUNS[suppressed.modality] > max_tokens - finished.output_tokens
            reported += 1
        assert all(event.limit == "ceiling" for event in events[:-1] if isinstance(event, SignalSuppressed))
    assert reported
