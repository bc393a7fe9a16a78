"""What scripts have in common at their beginnings, computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor


class PrefixCache:
    """Keys and values of whole blocks of scripts; when there are more than `limit`, the longest unused go.

    A block's name says all that stands in its script up to the block's end, so equal names mean equal contents.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._blocks: OrderedDict[bytes, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, names: Sequence[bytes]) -> list[Tensor]:
        """The blocks of a script that are known, from its first on without a gap."""
        found = []
        for name in names:
            if name not in self._blocks:
                break
            found.append(self._blocks[name])
        # A block is of no use without those before it, so of one script the last go first.
        for name in reversed(names[: len(found)]):
            self._blocks.move_to_end(name)
        return found

    def keep(self, name: bytes, block: Tensor) -> None:
        """Remembers one more block."""
        self._blocks[name] = block
        self._blocks.move_to_end(name)
        while len(self._blocks) > self.limit:
            self._blocks.popitem(last=False)
