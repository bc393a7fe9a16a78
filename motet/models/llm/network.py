"""The network of the language model: a LLaMA for packed batches, and its projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from motet.models.llm.layers.attention import PackedAttention, TokenRange, causal_mask
from motet.models.llm.layers.checkpoint import rotary_angles
from motet.models.llm.layers.kv_cache import KvCache
from motet.models.llm.layers.llama_layer import LlamaLayer, RotaryTables, rotary_tables
from motet.models.llm.layers.packed_linear import PackedLinear
from motet.models.llm.projections import Projections
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt

BLOCK_SIZE = 32
"""Tokens per block of a prompt. Block boundaries are fixed, so a cached block is equal to a computed one."""

# Minimum number of rows of a matrix product. MKL has other kernels for fewer rows, and a row's result then depends on
# the number of rows. From four rows on, it does not, though no library promises this. A response is therefore the same
# alone and in a batch.
_MIN_ROWS = 4


class Llama:
    """The network of one bundle's language model. It has no state per sequence: that is in the KV cache.

    The tokens of a forward are packed. Tokens of all sequences are the rows of one matrix in every layer, and only
    attention separates the sequences. So there is no padding, and a forward can mix chunks of prompts, single tokens
    and whole runs.
    """

    def __init__(self, model: Any, projections: Projections, positions: int, longest_run: int = 1) -> None:
        """`model` is a `LlamaCheckpoint`, or a `LlamaForCausalLM` of transformers.

        `positions` is the maximum length of prompt and response together. `longest_run` is the longest signal run. Both
        are in tokens.
        """
        model = model.requires_grad_(False).eval()
        self._embedding = model.model.embed_tokens
        self._norm = model.model.norm
        self._head = PackedLinear([model.lm_head])
        self.projections = projections.requires_grad_(False).eval()
        self.device = model.device
        self.dtype = model.dtype
        attention = model.model.layers[0].self_attn
        self.shape = (len(model.model.layers), model.config.num_key_value_heads, attention.head_dim)
        """The shape of the `KvCache`: number of layers, number of key heads, width of a head."""
        self._scale = float(attention.scaling)
        self._causal = causal_mask(max(BLOCK_SIZE, longest_run), positions, self.dtype, self.device)
        cos, sin = rotary_angles(model.config, positions, self.dtype)
        self._rotary = rotary_tables(cos.to(self.device), sin.to(self.device))
        self._layers = [LlamaLayer(layer) for layer in model.model.layers]
        self.vocabulary_size = len(model.lm_head.weight)
        """The number of token ids, control tokens included."""
        self.bos_token_id = int(model.config.bos_token_id)
        """The id of the first token of every prompt."""
        self.eos_token_id = int(model.config.eos_token_id)
        """The id of the token that ends a response."""

    def cache(self, limit: int) -> KvCache:
        """Create a KV cache for `limit` tokens of this network."""
        return KvCache(self.shape, limit, self.dtype, self.device)

    @torch.inference_mode()
    def embed_prompt(self, prompt: TokenizedPrompt) -> Tensor:
        """Return the input embeddings of a prompt, (tokens, width)."""
        embedded = self.embed(prompt.ids.tolist())
        if prompt.media_positions:
            projected = self.projections.llama_proj(prompt.embeddings.to(self.device, self.projections.dtype))
            embedded[list(prompt.media_positions)] = projected.to(self.dtype)
        return embedded

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """Return the input embeddings of tokens, (tokens, width)."""
        return self._embedding(torch.tensor(ids, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def forward(
        self, embedded: Tensor, ranges: Sequence[TokenRange], cache: KvCache, output_rows: Sequence[int]
    ) -> Tensor:
        """Run one forward. Return the states after the last norm of the rows `output_rows`, (output rows, width).

        `embedded`, (tokens, width), contains the tokens of all `ranges`, in order. Their keys and values are written
        to the cache. The tokens before each range must be in the cache already, or in the same forward.
        """
        count = len(embedded)
        cached = torch.tensor(
            [tokens.base + position for tokens in ranges for position in tokens.positions], device=self.device
        )
        rotary = self._rotary_of(ranges, count)
        attend = PackedAttention(ranges, cache, self._causal, self._scale, gather=self.device.type != "cpu")
        # This copy to a GPU is before the layers, because a copy after the layers would wait for them.
        last = torch.tensor(output_rows, dtype=torch.long, device=self.device)
        states = _padded(embedded)
        for number, layer in enumerate(self._layers):
            queries, keys_values = layer.project(states, rotary)
            cache.memory[number].flatten(0, 1).index_copy_(1, cached, keys_values[:count].transpose(0, 1))
            states = layer.finish(states, _padded(attend(number, queries[:count])))
        return self._norm(states[last])

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """Return the logits of the next token for each state, (states, vocabulary), float32."""
        return self._head(_padded(states))[: len(states)].float()

    @torch.inference_mode()
    def conditioning(self, modality: str, states: Tensor, embedded: Tensor) -> Tensor:
        """Return the conditioning of a run of signal tokens, (queries, width).

        `states` are the run's states after the last norm, `embedded` its input embeddings, both (run, width).
        """
        run = (each[None].to(self.projections.dtype) for each in (states, embedded))
        projected: Tensor = self.projections.outputs[modality](*run)[0]
        return projected

    def _rotary_of(self, ranges: Sequence[TokenRange], count: int) -> RotaryTables:
        positions = [position for tokens in ranges for position in tokens.positions]
        index = torch.tensor(positions + [0] * (_MIN_ROWS - count), device=self.device)
        return self._rotary[0][index], self._rotary[1][index]


def _padded(rows: Tensor) -> Tensor:
    """Return the rows, padded with zeros to at least `_MIN_ROWS` rows."""
    return pad(rows, (0, 0, 0, _MIN_ROWS - len(rows))) if len(rows) < _MIN_ROWS else rows
