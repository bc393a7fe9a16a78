"""Attention for tokens of several answers at once, none of which sees another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from motet.models.kv_cache import KvCache


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

    @property
    def span(self) -> tuple[int, int]:
        """The positions, as `range` takes them."""
        return self.start, self.end


class Attention:
    """Attends from the tokens of one pass to all that came before them. Made once a pass, used in every layer.

    Each answer's tokens attend in a call of their own: what is computed then does not depend on who else is there, to
    the last bit, and lengths that differ cost no padding. `gather` has single tokens share one padded call instead,
    for devices where the number of calls is what costs; that differs by float error.
    """

    def __init__(self, places: Sequence[Place], cache: KvCache, causal: Tensor, scale: float, gather: bool) -> None:
        """`causal` is `causal_mask`'s. `scale` is what products of queries and keys are multiplied by."""
        self._scale = scale
        self._memory = cache.memory
        self._counts = [place.count for place in places]
        together = [index for index, place in enumerate(places) if gather and place.count == 1]
        self._alone = [
            (index, cache.known(place.base, place.base + place.end), _visible(causal, place))
            for index, place in enumerate(places)
            if index not in together
        ]
        self._shared = _Shared([places[index] for index in together], together, causal) if together else None

    def __call__(self, layer: int, queries: Tensor) -> Tensor:
        """From (tokens, heads, width) to (tokens, heads x width), in the layer of that number."""
        share = queries.shape[1] != self._memory.shape[2]
        parts = list(torch.split(queries, self._counts))
        for index, known, mask in self._alone:
            keys, values = known[2 * layer], known[2 * layer + 1]
            attended = scaled_dot_product_attention(
                parts[index].transpose(0, 1)[None], keys, values, attn_mask=mask, scale=self._scale, enable_gqa=share
            )
            parts[index] = attended[0].transpose(0, 1)
        if self._shared is not None:
            keys, values = self._memory[layer][:, :, self._shared.columns].transpose(1, 2)
            asking = torch.cat([parts[index] for index in self._shared.indices]).unsqueeze(2)
            attended = scaled_dot_product_attention(
                asking, keys, values, attn_mask=self._shared.hidden, scale=self._scale, enable_gqa=share
            )
            for index, part in zip(self._shared.indices, attended.transpose(1, 2).unbind(), strict=True):
                parts[index] = part
        return torch.cat([part.flatten(1) for part in parts])


class _Shared:
    """Single tokens that attend in one call: which of the places they are, and what each sees.

    `columns`, (answers, longest), are the kept tokens; `hidden`, (answers, 1, 1, longest), hides what pads them.
    """

    def __init__(self, places: Sequence[Place], indices: Sequence[int], causal: Tensor) -> None:
        self.indices = indices
        device = causal.device
        ends = torch.tensor([place.end for place in places], device=device)[:, None]
        bases = torch.tensor([place.base for place in places], device=device)[:, None]
        columns = torch.arange(max(place.end for place in places), device=device)[None]
        beyond = columns >= ends
        self.columns = bases + columns.masked_fill(beyond, 0)
        hidden = torch.zeros(beyond.shape, dtype=causal.dtype, device=device)
        self.hidden = hidden.masked_fill(beyond, float("-inf"))[:, None, None]


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
