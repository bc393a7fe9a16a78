"""Sampling: the choice of the next token of each sequence from its logits."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

NO_TOKEN = -1
"""The result for a sequence whose logits are not finite."""

# Number of most likely tokens that are searched first for those that reach top_p. It is nearly always enough.
_FIRST_TOP_K = 64


class Sampler:
    """The sampling parameters and the random numbers of one sequence. Other sequences do not affect them.

    Temperature 0 selects the most likely token. Otherwise, the token is drawn from the smallest set of most likely
    tokens whose probabilities sum to `top_p`. Tokens as likely as the last one of the set are included.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self._random = Random(seed)

    def random(self) -> float:
        """Return the sequence's next random number, at least 0 and below 1."""
        return self._random.random()


def next_tokens(samplers: Sequence[Sampler], logits: Tensor) -> list[int]:
    """Return the next token of each sequence, or `NO_TOKEN` if its logits are not finite.

    `logits` is (sequences, vocabulary), and minus infinity for tokens that must not be sampled. A sequence's token
    depends on its own row and sampler only.
    """
    tokens = logits.argmax(dim=1)
    not_finite = ~logits.gather(1, tokens[:, None])[:, 0].isfinite()
    random_rows = [row for row, sampler in enumerate(samplers) if sampler.temperature > 0]
    if random_rows:
        tokens[random_rows] = _draw([samplers[row] for row in random_rows], logits[random_rows])
    return tokens.masked_fill_(not_finite, NO_TOKEN).tolist()


def _draw(samplers: Sequence[Sampler], logits: Tensor) -> Tensor:
    def column(numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=logits.device)[:, None]

    # The greatest logit is 0, so that its quotient is finite at every temperature.
    centred = logits.double() - logits.max(dim=1, keepdim=True).values
    probabilities = torch.softmax(centred / column([sampler.temperature for sampler in samplers]), dim=1)
    if any(sampler.top_p < 1 for sampler in samplers):
        minimum = _min_probability(probabilities, column([sampler.top_p for sampler in samplers]))
        probabilities = probabilities.masked_fill_(probabilities < minimum, 0)
    cumulative = probabilities.cumsum(dim=1)
    # A random number is below 1, so its product with the last sum is below that sum, even after rounding. There is
    # always a token whose sum is greater.
    drawn = column([sampler.random() for sampler in samplers]) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn, right=True)[:, 0]


def _min_probability(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Return the minimum probability of a token that may be drawn, (sequences, 1), or 0 if `top_p` is 1.

    `top_p` is (sequences, 1).
    """
    target = top_p.where(top_p < 1, 0)
    top_k = 0
    while True:
        top_k = min(max(_FIRST_TOP_K, 16 * top_k), probabilities.shape[1])
        most_likely = probabilities.topk(top_k).values
        below = most_likely.cumsum(dim=1) < target
        if top_k == probabilities.shape[1] or not below[:, -1].any():
            break
    last = below.sum(dim=1, keepdim=True).clamp(max=top_k - 1)
    return most_likely.gather(1, last).where(top_p < 1, 0)
