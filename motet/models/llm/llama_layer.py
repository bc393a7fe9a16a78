"""One layer of a LLaMA, for tokens that are packed as the rows of one matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from motet.models.llm.packed_linear import PackedLinear

Attend = Callable[[Tensor], Tensor]
RotaryTables = tuple[Tensor, Tensor]
"""Rotary positions of the tokens: what is multiplied with a vector, and with its swapped halves; (tokens, 1, width)."""


class Layer:
    """Transformers' layer, computed with few and large operations, which is what small models on a CPU need.

    Weights that are multiplied with the same vectors are laid together. The layer they came from goes on to work.
    """

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._width = int(attention.head_dim)
        self._into = PackedLinear([attention.q_proj, attention.k_proj, attention.v_proj])
        self._out = PackedLinear([attention.o_proj])
        self._wide = PackedLinear([mlp.gate_proj, mlp.up_proj])
        self._narrow = PackedLinear([mlp.down_proj])
        self._activate = mlp.act_fn
        self._before, self._between = layer.input_layernorm, layer.post_attention_layernorm
        self._key_heads = attention.k_proj.out_features // self._width

    def project(self, states: Tensor, turns: RotaryTables) -> tuple[Tensor, Tensor]:
        """Queries, (tokens, heads, width), and keys with values after them, (tokens, 2 x heads of keys, width)."""
        vectors = self._into(_normed(states, self._before)).view(len(states), -1, self._width)
        heads = vectors.shape[1] - 2 * self._key_heads
        placed = vectors[:, : heads + self._key_heads]
        first, second = placed.chunk(2, dim=-1)
        swapped = torch.cat((second, first), dim=-1)
        torch.addcmul(placed * turns[0], swapped, turns[1], out=placed)
        return vectors[:, :heads], vectors[:, heads:]

    def finish(self, states: Tensor, attended: Tensor) -> Tensor:
        """The next layer's states, from this one's and what its queries attended to, both (tokens, width)."""
        states = states + self._out(attended)
        gate, up = self._wide(_normed(states, self._between)).chunk(2, dim=-1)
        return states + self._narrow(self._activate(gate) * up)


def _normed(states: Tensor, norm: Any) -> Tensor:
    return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def rotary_tables(cos: Tensor, sin: Tensor) -> RotaryTables:
    """From transformers' tables, (positions, width), to what `Layer.project` takes of some positions."""
    half = sin.shape[1] // 2
    # Swapping the halves is then all that is left of turning one against the other.
    return cos[:, None], torch.cat((-sin[:, :half], sin[:, half:]), dim=1)[:, None]
