"""The mask of the tokens that must not be sampled."""

from __future__ import annotations

import torch
from torch import Tensor

from motet.core.signals import Grammar


def token_mask(grammar: Grammar, first_control: int, bos_token_id: int, vocabulary_size: int) -> Tensor:
    """Return a mask, (vocabulary,), that is true for each token that must not be sampled, in any request.

    Excluded are the control tokens, from id `first_control`, and the first token of prompts. The first token of every
    run stays, also if a request does not permit the run. Without it, its probability would go to the other runs, and
    another medium would take the place of the requested one.
    """
    mask = torch.zeros(vocabulary_size, dtype=torch.bool)
    mask[first_control:] = True
    mask[bos_token_id] = True
    for run in grammar.runs:
        mask[run.first] = False
    return mask
