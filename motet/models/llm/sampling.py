"""Which token comes next: the likeliest, or one by chance, of those that are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

NONE = -1
"""In place of a token where none can be chosen, because the network's numbers are not finite."""

# How many of the likeliest are looked at first for those that reach top_p; few are enough nearly always.
_LOOK = 64


class Sampler:
    """How tokens are chosen for one answer, and this answer's own chance: who else is answered has no part in it.

    `temperature` 0 takes the likeliest token. Otherwise one is drawn among the likeliest that together reach a
    probability of `top_p`, and those as likely as the last of them.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self._random = Random(seed)

    def chance(self) -> float:
        """The next number of its own, from 0 to less than 1."""
        return self._random.random()


def next_tokens(samplers: Sequence[Sampler], allowed: Tensor) -> list[int]:
    """The next token of each answer, or `NONE`, from logits that are minus infinity where a token may not come.

    `allowed` is (answers, vocabulary). What is chosen for one depends on its own row and sampler alone.
    """
    tokens = allowed.argmax(dim=1)
    broken = ~allowed.gather(1, tokens[:, None])[:, 0].isfinite()
    drawing = [row for row, sampler in enumerate(samplers) if sampler.temperature > 0]
    if drawing:
        tokens[drawing] = _drawn([samplers[row] for row in drawing], allowed[drawing])
    return tokens.masked_fill_(broken, NONE).tolist()


def _drawn(samplers: Sequence[Sampler], allowed: Tensor) -> Tensor:
    def column(numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=allowed.device)[:, None]

    odds = torch.softmax(allowed.double() / column([sampler.temperature for sampler in samplers]), dim=1)
    if any(sampler.top_p < 1 for sampler in samplers):
        odds = odds.masked_fill_(odds < _least(odds, column([sampler.top_p for sampler in samplers])), 0)
    reached = odds.cumsum(dim=1)
    # A product with less than 1 is less than the last sum, to the last bit, so there is always one beyond it.
    drawn = column([sampler.chance() for sampler in samplers]) * reached[:, -1:]
    return torch.searchsorted(reached, drawn, right=True)[:, 0]


def _least(odds: Tensor, top_p: Tensor) -> Tensor:
    """How likely a token must be to stay, (answers, 1); anything where `top_p`, of that shape, is 1."""
    wanted = top_p.where(top_p < 1, 0)
    size = 0
    while True:
        size = min(max(_LOOK, 16 * size), odds.shape[1])
        likeliest = odds.topk(size).values
        short = likeliest.cumsum(dim=1) < wanted
        if size == odds.shape[1] or not short[:, -1].any():
            break
    last = short.sum(dim=1, keepdim=True).clamp(max=size - 1)
    return likeliest.gather(1, last).where(top_p < 1, 0)
