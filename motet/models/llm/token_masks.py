"""Masks of the tokens that must not be sampled."""

from __future__ import annotations

import torch
from torch import Tensor

from motet.core.signals import Grammar


class TokenMasks:
    """Masks that exclude control tokens from sampling.

    Excluded are the tokens around attached media, every token of a run except the first, and the first token of a run
    that is not allowed. There are few different masks, so each mask is created once.
    """

    def __init__(self, grammar: Grammar, first_control: int, bos_token_id: int, device: torch.device) -> None:
        """`first_control` is the lowest id of the control tokens."""
        self._grammar = grammar
        self._first_control = first_control
        self._bos_token_id = bos_token_id
        self._device = device
        self._masks: dict[tuple[frozenset[str], int], Tensor] = {}

    def mask_for(self, allowed: frozenset[str], vocabulary_size: int) -> Tensor:
        """Return a mask, (vocabulary,), that is true for each token that must not be sampled.

        Runs of the `allowed` modalities may start.
        """
        mask = self._masks.get((allowed, vocabulary_size))
        if mask is None:
            mask = self._create(allowed, vocabulary_size).to(self._device)
            self._masks[allowed, vocabulary_size] = mask
        return mask

    def _create(self, allowed: frozenset[str], vocabulary_size: int) -> Tensor:
        mask = torch.zeros(vocabulary_size, dtype=torch.bool)
        mask[self._first_control :] = True
        mask[self._bos_token_id] = True
        for run in self._grammar.runs:
            if run.modality in allowed:
                mask[run.first] = False
        return mask
