"""Attention for one batch of tokens of several sequences. No sequence attends to another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from motet.models.llm.layers.kv_cache import KvCache


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Consecutive tokens of one sequence: `count` positions from `start` on.

    `base` is the index in the KV cache of the sequence's position 0.
    """

    base: int
    start: int
    count: int

    @property
    def end(self) -> int:
        """The position after the last token."""
        return self.start + self.count

    @property
    def positions(self) -> range:
        """The positions of the tokens."""
        return range(self.start, self.end)


class PackedAttention:
    """Attention from the tokens of one forward to all earlier tokens of the same sequence.

    One object is created per forward and used in every layer. Each sequence has its own kernel call. Its result does
    not depend on the other sequences, to the last bit, and different lengths need no padding. If `gather` is true,
    ranges of a single token share one padded call instead. That is faster on devices where the number of calls
    matters, and its results differ by float error.
    """

    def __init__(
        self, ranges: Sequence[TokenRange], cache: KvCache, causal: Tensor, scale: float, gather: bool
    ) -> None:
        """`causal` is the mask of `causal_mask`. `scale` is the factor for products of queries and keys."""
        self._scale = scale
        self._memory = cache.memory
        ends = accumulate(tokens.count for tokens in ranges)
        rows = [(end - tokens.count, tokens) for end, tokens in zip(ends, ranges, strict=True)]
        single = [(row, tokens) for row, tokens in rows if gather and tokens.count == 1]
        self._separate = [
            (row, tokens.count, cache.layers(tokens.base, tokens.base + tokens.end), _mask_of(causal, tokens))
            for row, tokens in rows
            if not gather or tokens.count > 1
        ]
        self._gathered = _GatheredTokens(single, causal) if single else None
        computed = [row + i for row, count, *_ in self._separate for i in range(count)] + [row for row, _ in single]
        self._order = _inverse(computed, causal.device) if single and self._separate else None

    def __call__(self, layer: int, queries: Tensor) -> Tensor:
        """Return the attention of layer number `layer`: (tokens, heads, width) -> (tokens, heads x width)."""
        grouped = queries.shape[1] != self._memory.shape[2]
        outputs = []
        for row, count, layers, mask in self._separate:
            query, keys, values = queries.narrow(0, row, count), layers[2 * layer], layers[2 * layer + 1]
            attended = scaled_dot_product_attention(
                query.transpose(0, 1)[None], keys, values, attn_mask=mask, scale=self._scale, enable_gqa=grouped
            )
            outputs.append(attended[0].transpose(0, 1))
        if self._gathered is not None:
            keys, values = self._memory[layer][:, :, self._gathered.columns].transpose(1, 2)
            attended = scaled_dot_product_attention(
                queries[self._gathered.rows].unsqueeze(2),
                keys,
                values,
                attn_mask=self._gathered.mask,
                scale=self._scale,
                enable_gqa=grouped,
            )
            outputs.append(attended[:, :, 0])
        output = torch.cat(outputs).flatten(1)
        return output if self._order is None else output[self._order]


class _GatheredTokens:
    """Single tokens that share one attention call.

    `rows`, (sequences,), are their rows in the batch. `columns`, (sequences, longest), are the indices of their keys
    in the KV cache. `mask`, (sequences, 1, 1, longest), hides the padding of `columns`.
    """

    def __init__(self, single: Sequence[tuple[int, TokenRange]], causal: Tensor) -> None:
        device = causal.device
        numbers = [(row, tokens.base, tokens.end) for row, tokens in single]
        self.rows, bases, ends = torch.tensor(numbers, device=device).unbind(1)
        columns = torch.arange(max(tokens.end for _, tokens in single), device=device)[None]
        padding = columns >= ends[:, None]
        self.columns = bases[:, None] + columns.masked_fill(padding, 0)
        mask = torch.zeros(padding.shape, dtype=causal.dtype, device=device)
        self.mask = mask.masked_fill(padding, float("-inf"))[:, None, None]


def _inverse(order: Sequence[int], device: torch.device) -> Tensor:
    """Return the index of each row in a tensor whose rows are in the given order."""
    return torch.tensor(order, device=device).argsort()


def causal_mask(max_tokens: int, max_positions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the mask that contains the mask of every token range, (max_tokens, max_positions + max_tokens).

    A range has at most `max_tokens` tokens and at most `max_positions` positions before it. The mask is zero if token
    i attends to column j. It is minus infinity if j is more than `max_positions` after i.
    """
    mask = torch.full((max_tokens, max_positions + max_tokens), float("-inf"), dtype=dtype, device=device)
    return mask.triu(max_positions + 1)


def _mask_of(causal: Tensor, tokens: TokenRange) -> Tensor | None:
    if tokens.count == 1:
        return None
    max_positions = causal.shape[1] - causal.shape[0]
    return causal[: tokens.count, max_positions - tokens.start : max_positions + tokens.count]
