"""Attention for tokens of several answers at once, none of which sees another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True, slots=True)
class Place:
    """Where `count` tokens of one answer stand: at positions `start` and on, the first of all being kept at `base`."""

    base: int
    start: int
    count: int

    @property
    def end(self) -> int:
        """The position after the last."""
        return self.start + self.count


class Attention:
    """Attends from the tokens of one pass to all that came before them. Made once a pass, used in every layer.

    Each answer's tokens attend in a call of their own: what is computed then does not depend on who else is there, to
    the last bit, and lengths that differ cost no padding. `gather` has single tokens share one padded call instead,
    for devices where the number of calls is what costs; that differs by float error.
    """

    def __init__(self, places: Sequence[Place], causal: Tensor, scale: float, gather: bool) -> None:
        """`causal` is `causal_mask`'s. `scale` is what products of queries and keys are multiplied by."""
        self._scale = scale
        self._shared: list[int] = []
        self._alone: list[tuple[int, Place, Tensor | None]] = []
        device, row = causal.device, 0
        single = [place for place in places if place.count == 1] if gather else []
        for place in places:
            if gather and place.count == 1:
                self._shared.append(row)
            else:
                self._alone.append((row, place, _visible(causal, place)))
            row += place.count
        if single:
            self._rows = torch.tensor(self._shared, device=device)
            self._index, self._hidden = _padded(single, causal)

    def __call__(self, queries: Tensor, memory: Tensor) -> Tensor:
        """From (tokens, heads, width) and one layer's part of `KvCache.memory` to (tokens, heads, width)."""
        attended = torch.zeros_like(queries)
        share = queries.shape[1] != memory.shape[1]
        for row, place, mask in self._alone:
            known = memory[:, :, place.base : place.base + place.end]
            attended[row : row + place.count] = scaled_dot_product_attention(
                queries[row : row + place.count].transpose(0, 1)[None],
                known[0][None],
                known[1][None],
                attn_mask=mask,
                scale=self._scale,
                enable_gqa=share,
            )[0].transpose(0, 1)
        if self._shared:
            known = memory[:, :, self._index].transpose(1, 2)  # (2, answers, heads, longest, width)
            attended[self._rows] = scaled_dot_product_attention(
                queries[self._rows].unsqueeze(2),
                known[0],
                known[1],
                attn_mask=self._hidden,
                scale=self._scale,
                enable_gqa=share,
            ).squeeze(2)
        return attended


def causal_mask(most: int, positions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Of which every mask is a part, (most, positions + most): `most` tokens at a time, anywhere in so many positions.

    Zero where token i sees column j, and minus infinity where j is more than `positions` after it.
    """
    hidden = torch.full((most, positions + most), float("-inf"), dtype=dtype, device=device)
    return hidden.triu(positions + 1)


def _visible(causal: Tensor, place: Place) -> Tensor | None:
    if place.count == 1:
        return None
    positions = causal.shape[1] - causal.shape[0]
    return causal[: place.count, positions - place.start : positions + place.count]


def _padded(places: Sequence[Place], causal: Tensor) -> tuple[Tensor, Tensor]:
    """Which kept tokens each answer sees, (answers, longest), and what hides the padding, (answers, 1, 1, longest)."""
    device = causal.device
    ends = torch.tensor([place.end for place in places], device=device)[:, None]
    bases = torch.tensor([place.base for place in places], device=device)[:, None]
    columns = torch.arange(max(place.end for place in places), device=device)[None]
    beyond = columns >= ends
    hidden = torch.zeros(beyond.shape, dtype=causal.dtype, device=device).masked_fill(beyond, float("-inf"))
    return bases + columns.masked_fill(beyond, 0), hidden[:, None, None]
