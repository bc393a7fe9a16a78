"""Attention for tokens of several answers at once, none of which sees another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from motet.models.llm.kv_cache import KvCache


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Where `count` tokens of one answer stand: at positions `start` and on, the first of all being kept at `base`."""

    base: int
    start: int
    count: int

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + self.count

    @property
    def span(self) -> tuple[int, int]:
        """The positions, as `range` takes them."""
        return self.start, self.end


class PackedAttention:
    """Attends from the tokens of one pass to all that came before them. Made once a pass, used in every layer.

    Each answer's tokens attend in a call of their own: what is computed then does not depend on who else is there, to
    the last bit, and lengths that differ cost no padding. `gather` has single tokens share one padded call instead,
    for devices where the number of calls is what costs; that differs by float error.
    """

    def __init__(
        self, places: Sequence[TokenRange], cache: KvCache, causal: Tensor, scale: float, gather: bool
    ) -> None:
        """`causal` is `causal_mask`'s. `scale` is what products of queries and keys are multiplied by."""
        self._scale = scale
        self._memory = cache.memory
        ends = list(accumulate(place.count for place in places))
        rows = [(end - place.count, place) for end, place in zip(ends, places, strict=True)]
        together = [each for each in rows if gather and each[1].count == 1]
        self._alone = [
            (row, place.count, cache.known(place.base, place.base + place.end), _visible(causal, place))
            for row, place in rows
            if not gather or place.count > 1
        ]
        self._shared = _Shared(together, causal) if together else None
        computed = [row + i for row, count, *_ in self._alone for i in range(count)] + [row for row, _ in together]
        self._order = _inverse(computed, causal.device) if together and self._alone else None

    def __call__(self, layer: int, queries: Tensor) -> Tensor:
        """From (tokens, heads, width) to (tokens, heads x width), in the layer of that number."""
        share = queries.shape[1] != self._memory.shape[2]
        parts = []
        for row, count, known, mask in self._alone:
            asking, keys, values = queries.narrow(0, row, count), known[2 * layer], known[2 * layer + 1]
            attended = scaled_dot_product_attention(
                asking.transpose(0, 1)[None], keys, values, attn_mask=mask, scale=self._scale, enable_gqa=share
            )
            parts.append(attended[0].transpose(0, 1))
        if self._shared is not None:
            keys, values = self._memory[layer][:, :, self._shared.columns].transpose(1, 2)
            attended = scaled_dot_product_attention(
                queries[self._shared.rows].unsqueeze(2),
                keys,
                values,
                attn_mask=self._shared.hidden,
                scale=self._scale,
                enable_gqa=share,
            )
            parts.append(attended[:, :, 0])
        mixed = torch.cat(parts).flatten(1)
        return mixed if self._order is None else mixed[self._order]


class _Shared:
    """Single tokens that attend in one call: which rows of the pass they are, and what each sees.

    `rows`, (answers,); `columns`, (answers, longest), are the kept tokens; `hidden`, (answers, 1, 1, longest), hides
    what pads them.
    """

    def __init__(self, placed: Sequence[tuple[int, TokenRange]], causal: Tensor) -> None:
        device = causal.device
        numbers = [(row, place.base, place.end) for row, place in placed]
        self.rows, bases, ends = torch.tensor(numbers, device=device).unbind(1)
        columns = torch.arange(max(place.end for _, place in placed), device=device)[None]
        beyond = columns >= ends[:, None]
        self.columns = bases[:, None] + columns.masked_fill(beyond, 0)
        hidden = torch.zeros(beyond.shape, dtype=causal.dtype, device=device)
        self.hidden = hidden.masked_fill(beyond, float("-inf"))[:, None, None]


def _inverse(order: Sequence[int], device: torch.device) -> Tensor:
    """Where each row is found, when they were computed in that order."""
    return torch.tensor(order, device=device).argsort()


def causal_mask(most: int, positions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Of which every mask is a part, (most, positions + most): `most` tokens at a time, anywhere in so many positions.

    Zero where token i sees column j, and minus infinity where j is more than `positions` after it.
    """
    hidden = torch.full((most, positions + most), float("-inf"), dtype=dtype, device=device)
    return hidden.triu(positions + 1)


def _visible(causal: Tensor, place: TokenRange) -> Tensor | None:
    if place.count == 1:
        return None
    positions = causal.shape[1] - causal.shape[0]
    return causal[: place.count, positions - place.start : positions + place.count]
