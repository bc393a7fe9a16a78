"""The language model, run by transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlamaForCausalLM


class TransformersModel:
    """A network that `generate` of transformers runs, for responses of given lengths."""

    def __init__(self, network: LlamaForCausalLM, end: int) -> None:
        """`end` is the id of the token that ends a response. It also pads shorter prompts."""
        self._model: Any = network.eval()
        self._model.generation_config.eos_token_id = None  # every response has its full number of tokens
        self._end = end

    def generate_batches(self, requests: Sequence[tuple[torch.Tensor, int]], size: int, sample: bool = False) -> None:
        """Run static batches of `size` one after another. A batch ends with its longest response."""
        for first in range(0, len(requests), size):
            ids, lengths = zip(*requests[first : first + size], strict=True)
            self.generate(ids, max(lengths), sample)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[torch.Tensor], tokens: int, sample: bool = False) -> None:
        """Run one batch, padded at the left as `generate` requires. Tokens are greedy or sampled."""
        longest = max(map(len, prompts))
        padded = torch.stack([torch.cat([ids.new_full((longest - len(ids),), self._end), ids]) for ids in prompts])
        mask = torch.stack([torch.arange(longest) >= longest - len(ids) for ids in prompts]).long()
        self._model.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=tokens,
            do_sample=sample,
            pad_token_id=self._end,
        )
