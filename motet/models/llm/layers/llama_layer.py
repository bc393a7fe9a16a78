"""One layer of a LLaMA. The tokens of a batch are the rows of one matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from motet.models.llm.layers.packed_linear import PackedLinear

RotaryTables = tuple[Tensor, Tensor]
"""Factors of the rotary embedding for a vector and for its swapped halves, each (tokens, 1, width)."""


class LlamaLayer:
    """The LLaMA layer of transformers with fewer and larger operations, which makes small models fast on a CPU.

    Weights that multiply the same vectors are packed into one matrix. The original layer remains usable.
    """

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._width = int(attention.head_dim)
        self._qkv = PackedLinear([attention.q_proj, attention.k_proj, attention.v_proj])
        self._output = PackedLinear([attention.o_proj])
        self._gate_up = PackedLinear([mlp.gate_proj, mlp.up_proj])
        self._down = PackedLinear([mlp.down_proj])
        self._activation = mlp.act_fn
        self._attention_norm, self._mlp_norm = layer.input_layernorm, layer.post_attention_layernorm
        self._key_heads = attention.k_proj.out_features // self._width

    def project(self, states: Tensor, rotary: RotaryTables) -> tuple[Tensor, Tensor]:
        """Return the queries, (tokens, heads, width), and keys then values, (tokens, 2 x key heads, width)."""
        vectors = self._qkv(_normalized(states, self._attention_norm)).view(len(states), -1, self._width)
        heads = vectors.shape[1] - 2 * self._key_heads
        rotated = vectors[:, : heads + self._key_heads]
        first, second = rotated.chunk(2, dim=-1)
        swapped = torch.cat((second, first), dim=-1)
        torch.addcmul(rotated * rotary[0], swapped, rotary[1], out=rotated)
        return vectors[:, :heads], vectors[:, heads:]

    def finish(self, states: Tensor, attended: Tensor) -> Tensor:
        """Return the states after this layer, from its input states and its attention, each (tokens, width)."""
        states = states + self._output(attended)
        gate, up = self._gate_up(_normalized(states, self._mlp_norm)).chunk(2, dim=-1)
        return states + self._down(self._activation(gate) * up)


def _normalized(states: Tensor, norm: Any) -> Tensor:
    return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def rotary_tables(cos: Tensor, sin: Tensor) -> RotaryTables:
    """Convert the tables of transformers, (positions, width), to tables for `LlamaLayer.project`."""
    half = sin.shape[1] // 2
    # The sign is part of the table, so a rotation needs only swapped halves.
    return cos[:, None], torch.cat((-sin[:, :half], sin[:, half:]), dim=1)[:, None]
