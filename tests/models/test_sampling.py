import torch

from motet.models.sampling import Sampler

NOTHING = torch.zeros(4, dtype=torch.bool)
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


def test_temperature_zero_takes_the_likeliest_token_that_is_allowed() -> None:
    sampler = Sampler(0.0, 1.0, seed=0)

    assert sampler.choose(LOGITS, NOTHING) == 0
    assert sampler.choose(LOGITS, torch.tensor([True, False, False, False])) == 1


def test_a_forbidden_token_is_never_drawn() -> None:
    sampler = Sampler(5.0, 1.0, seed=0)
    forbidden = torch.tensor([False, True, False, True])

    assert {sampler.choose(LOGITS, forbidden) for _ in range(200)} == {0, 2}


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    # Probabilities 0.64, 0.24, 0.09, 0.03: two tokens are needed for 0.7.
    sampler = Sampler(1.0, 0.7, seed=0)

    assert {sampler.choose(LOGITS, NOTHING) for _ in range(200)} == {0, 1}


def test_a_tiny_top_p_still_leaves_one_token() -> None:
    assert Sampler(1.0, 1e-9, seed=0).choose(LOGITS, NOTHING) == 0


def test_the_same_seed_draws_the_same_tokens() -> None:
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(2.0, 1.0, seed)
        return [sampler.choose(LOGITS, NOTHING) for _ in range(50)]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
