"""Which tokens may not come next."""

from __future__ import annotations

import torch
from torch import Tensor

from motet.core.signals import Grammar


class TokenMasks:
    """Hides control tokens from sampling: marks of attached media, the middle of a run, and what is not allowed.

    There are few different masks, so each is made once.
    """

    def __init__(self, grammar: Grammar, first_control: int, beginning: int, device: torch.device) -> None:
        self._grammar = grammar
        self._first_control = first_control
        self._beginning = beginning
        self._device = device
        self._made: dict[tuple[frozenset[str], int], Tensor] = {}

    def hiding_all_but(self, allowed: frozenset[str], vocabulary: int) -> Tensor:
        """True for each token that may not come, (vocabulary,), where runs of the `allowed` modalities may begin."""
        mask = self._made.get((allowed, vocabulary))
        if mask is None:
            mask = self._made[allowed, vocabulary] = self._make(allowed, vocabulary).to(self._device)
        return mask

    def _make(self, allowed: frozenset[str], vocabulary: int) -> Tensor:
        hidden = torch.zeros(vocabulary, dtype=torch.bool)
        hidden[self._first_control :] = True
        hidden[self._beginning] = True
        for run in self._grammar.runs:
            if run.modality in allowed:
                hidden[run.first] = False
        return hidden
