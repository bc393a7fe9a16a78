"""The memory of attention: keys and values of every token that is still needed, in one block of fixed size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motet.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class KvSlot:
    """Room for `size` tokens of one answer, from `base` on."""

    base: int
    size: int


class KvCache:
    """Keys and values of `limit` tokens, handed out in spans.

    An answer's span has room for the longest it may become, so an answer that was begun can always be finished, and
    lies in one piece, so attention reads it without gathering. Memory that was never written costs nothing on a CPU.
    """

    def __init__(self, shape: tuple[int, int, int], limit: int, dtype: torch.dtype, device: torch.device) -> None:
        """`shape` is the network's: layers, heads of keys, width of one.

        Raises `SettingsError` where the device has no memory for so many tokens.
        """
        layers, heads, width = shape
        # Zeros, because what is masked still takes part in products, and nothing times not-a-number is no number.
        try:
            self.memory = torch.zeros(layers, 2, heads, limit, width, dtype=dtype, device=device)
        except RuntimeError as error:
            size = layers * 2 * heads * width * dtype.itemsize
            raise SettingsError(
                f"there is no room on {device} for the {limit * size / 2**30:.1f} GiB that the keys and values of "
                f"{limit} tokens take: set MOTET_KV_TOKENS to fewer"
            ) from error
        """(layers, keys and values, heads, tokens, width)"""
        self.limit = limit
        self._free = [KvSlot(0, limit)]

    @property
    def used(self) -> int:
        """How many tokens' room is handed out."""
        return self.limit - sum(span.size for span in self._free)

    def reserve(self, size: int) -> KvSlot | None:
        """Room for so many tokens, or None where there is none in one piece now."""
        for index, free in enumerate(self._free):
            if free.size >= size:
                rest = KvSlot(free.base + size, free.size - size)
                self._free[index : index + 1] = [rest] if rest.size else []
                return KvSlot(free.base, size)
        return None

    def release(self, span: KvSlot) -> None:
        """Takes back what `reserve` gave."""
        whole: list[KvSlot] = []
        for free in sorted([*self._free, span], key=lambda each: each.base):
            if whole and whole[-1].base + whole[-1].size == free.base:
                whole[-1] = KvSlot(whole[-1].base, whole[-1].size + free.size)
            else:
                whole.append(free)
        self._free = whole

    def known(self, start: int, end: int) -> tuple[Tensor, ...]:
        """The tokens between, as attention reads them: each layer's keys, its values, (1, heads, tokens, width)."""
        return self.memory[:, :, None, :, start:end].flatten(0, 1).unbind()

    def read(self, start: int, count: int) -> Tensor:
        """A copy of so many tokens, (layers, 2, heads, count, width)."""
        return self.memory[..., start : start + count, :].clone()

    def write(self, start: int, tokens: Tensor) -> None:
        """Puts there what `read` once gave."""
        self.memory[..., start : start + tokens.shape[-2], :] = tokens
