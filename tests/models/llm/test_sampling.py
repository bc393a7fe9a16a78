import math

import pytest
import torch

from motet.models.llm.sampling import NO_TOKEN, Sampler, next_tokens

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


def sample(sampler: Sampler, logits: torch.Tensor, times: int = 1) -> list[int]:
    return [next_tokens([sampler], logits[None])[0] for _ in range(times)]


def excluding(*tokens: int) -> torch.Tensor:
    logits = LOGITS.clone()
    logits[list(tokens)] = -math.inf
    return logits


def test_temperature_zero_selects_the_most_likely_allowed_token() -> None:
    sampler = Sampler(0.0, 1.0, seed=0)

    assert sample(sampler, LOGITS) == [0]
    assert sample(sampler, excluding(0)) == [1]


@pytest.mark.parametrize("temperature", [math.ulp(0.0), 1e-308, 1e-30])
def test_a_tiny_temperature_draws_the_most_likely_token(temperature: float) -> None:
    assert set(sample(Sampler(temperature, 1.0, seed=0), LOGITS, 20)) == {0}
    assert set(sample(Sampler(temperature, 0.5, seed=0), -LOGITS, 20)) == {3}
    assert set(sample(Sampler(temperature, math.ulp(0.0), seed=0), excluding(0), 20)) == {1}


def test_an_excluded_token_is_never_drawn() -> None:
    assert set(sample(Sampler(5.0, 1.0, seed=0), excluding(1, 3), 200)) == {0, 2}
    assert set(sample(Sampler(5.0, 0.99, seed=0), excluding(0, 3), 200)) == {1, 2}


def test_tokens_are_drawn_with_their_probabilities() -> None:
    drawn = sample(Sampler(2.0, 1.0, seed=0), LOGITS, 4000)

    for token, share in enumerate(torch.softmax(LOGITS / 2, dim=0).tolist()):
        assert drawn.count(token) / len(drawn) == pytest.approx(share, abs=0.03)


def test_top_p_keeps_the_smallest_set_of_tokens_that_reaches_it() -> None:
    # Probabilities 0.64, 0.24, 0.09, 0.03: two tokens are needed for 0.7.
    assert set(sample(Sampler(1.0, 0.7, seed=0), LOGITS, 200)) == {0, 1}


@pytest.mark.parametrize("kept", [40, 900, 1500])
def test_top_p_keeps_many_tokens_of_a_large_vocabulary_if_they_are_needed(kept: int) -> None:
    logits = torch.full((2000,), -20.0)
    logits[:kept] = torch.linspace(0.1, 0, kept)
    drawn = sample(Sampler(1.0, 0.999999, seed=0), logits, 300)

    assert max(drawn) < kept
    assert len(set(drawn)) > min(kept, 200) * 0.7


def test_a_tiny_top_p_still_leaves_one_token() -> None:
    assert sample(Sampler(1.0, 1e-9, seed=0), LOGITS, 20) == [0] * 20


def test_the_same_seed_draws_the_same_tokens() -> None:
    def drawn(seed: int) -> list[int]:
        return sample(Sampler(2.0, 1.0, seed), LOGITS, 50)

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_the_token_of_a_sequence_does_not_depend_on_the_other_sequences() -> None:
    torch.manual_seed(0)
    settings = [(0.0, 1.0), (0.7, 1.0), (1.0, 0.3), (3.0, 0.9), (1.0, 0.999), (5.0, 1.0)]
    logits = 3 * torch.randn(20, len(settings), 1500)
    batched = [Sampler(*setting, seed) for seed, setting in enumerate(settings)]
    alone = [Sampler(*setting, seed) for seed, setting in enumerate(settings)]

    for rows in logits:
        assert next_tokens(batched, rows) == [
            next_tokens([sampler], row[None])[0] for sampler, row in zip(alone, rows, strict=True)
        ]


def test_a_sequence_whose_logits_are_not_finite_gets_no_token_and_the_others_do() -> None:
    samplers = [Sampler(temperature, 1.0, seed=0) for temperature in (0.0, 1.0, 1.0, 0.0)]
    rows = torch.stack([LOGITS * math.nan, LOGITS + torch.tensor([0, math.inf, 0, 0]), LOGITS, LOGITS])

    tokens = next_tokens(samplers, rows)

    assert tokens[:2] == [NO_TOKEN, NO_TOKEN]
    assert 0 <= tokens[2] < 4
    assert tokens[3] == 0
