"""Which token comes next: the likeliest, or one by chance, of those that are allowed."""

from __future__ import annotations

import torch
from torch import Tensor


class Sampler:
    """Chooses tokens for one answer. The same seed and the same logits give the same tokens.

    `temperature` 0 takes the likeliest token. Otherwise one is drawn among the likeliest that together reach a
    probability of `top_p`, by a generator of this answer's own: who else is answered has no part in it.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._generator = torch.Generator().manual_seed(seed % 2**63)

    def choose(self, logits: Tensor, forbidden: Tensor) -> int:
        """The next token; `logits` and `forbidden` (true: never) are (vocabulary,)."""
        allowed = logits.masked_fill(forbidden, float("-inf"))
        return self.pick(allowed, int(allowed.argmax()))

    def pick(self, allowed: Tensor, likeliest: int) -> int:
        """The same, from logits that are minus infinity where forbidden, and of which the largest is known."""
        if self._temperature <= 0:
            return likeliest
        odds = torch.softmax(allowed.cpu().double() / self._temperature, dim=0)
        ranked, tokens = odds.sort(descending=True, stable=True)
        # A token stays while those likelier than it have not yet reached top_p, so one always stays.
        ranked[ranked.cumsum(0) - ranked >= self._top_p] = 0
        return int(tokens[torch.multinomial(ranked, 1, generator=self._generator)])
