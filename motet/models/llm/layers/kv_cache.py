"""The KV cache: keys and values of all running sequences, in one tensor of fixed size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motet.core.errors import SettingsError


@dataclass(frozen=True, slots=True)
class KvSlot:
    """Reserved memory for `size` tokens of one sequence, from index `base` on."""

    base: int
    size: int


class KvCache:
    """Keys and values of `limit` tokens, reserved in slots.

    The slot of a sequence has the sequence's maximum length, so a sequence that has started can always finish. A slot
    is contiguous, so attention reads it without gathering. On a CPU, memory that was never written costs nothing.
    """

    def __init__(self, shape: tuple[int, int, int], limit: int, dtype: torch.dtype, device: torch.device) -> None:
        """`shape` is the network's number of layers, number of key heads, and width of a head.

        Raises `SettingsError` if the device does not have enough memory for `limit` tokens.
        """
        layers, heads, width = shape
        # Masked values still enter products, and zero times NaN is NaN, so the memory must be initialized.
        try:
            self.memory = torch.zeros(layers, 2, heads, limit, width, dtype=dtype, device=device)
        except RuntimeError as error:
            size = layers * 2 * heads * width * dtype.itemsize
            raise SettingsError(
                f"{device} does not have the {limit * size / 2**30:.1f} GiB of memory that the keys and values of "
                f"{limit} tokens take: set MOTET_KV_TOKENS to fewer"
            ) from error
        """(layers, keys and values, heads, tokens, width)"""
        self.limit = limit
        self._free = [KvSlot(0, limit)]

    @property
    def used(self) -> int:
        """The number of tokens in reserved slots."""
        return self.limit - sum(slot.size for slot in self._free)

    def reserve(self, size: int) -> KvSlot | None:
        """Reserve a slot for `size` tokens. Return None if no contiguous memory of that size is free."""
        for index, free in enumerate(self._free):
            if free.size >= size:
                rest = KvSlot(free.base + size, free.size - size)
                self._free[index : index + 1] = [rest] if rest.size else []
                return KvSlot(free.base, size)
        return None

    def release(self, slot: KvSlot) -> None:
        """Free a slot that `reserve` returned."""
        merged: list[KvSlot] = []
        for free in sorted([*self._free, slot], key=lambda slot: slot.base):
            if merged and merged[-1].base + merged[-1].size == free.base:
                merged[-1] = KvSlot(merged[-1].base, merged[-1].size + free.size)
            else:
                merged.append(free)
        self._free = merged

    def layers(self, start: int, end: int) -> tuple[Tensor, ...]:
        """Return views of the tokens from `start` to `end`: keys and values of each layer in turn.

        Each view is (1, heads, tokens, width), the shape that attention reads.
        """
        return self.memory[:, :, None, :, start:end].flatten(0, 1).unbind()

    def read(self, start: int, count: int) -> Tensor:
        """Return a copy of `count` tokens, (layers, 2, heads, count, width)."""
        return self.memory[..., start : start + count, :].clone()

    def write(self, start: int, tokens: Tensor) -> None:
        """Write tokens that `read` returned to index `start` and on."""
        self.memory[..., start : start + tokens.shape[-2], :] = tokens
