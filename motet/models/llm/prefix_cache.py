"""The prefix cache: keys and values of the first blocks of recent prompts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from motet.caching.lru import IDLE_AFTER, LruCache


class PrefixCache:
    """Keys and values of at most `limit` blocks of prompts. Tenants share them as the owners of an `LruCache`.

    The hash of a block covers the prompt from its start to the end of the block, so equal hashes mean equal values.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._blocks: LruCache[bytes, Tensor] = LruCache(limit, idle_after=IDLE_AFTER)

    def __len__(self) -> int:
        return self._blocks.size

    def find(self, block_hashes: Sequence[bytes]) -> list[Tensor]:
        """Return the cached blocks of a prompt, up to the first block that is not cached."""
        found = []
        for block_hash in block_hashes:
            block = self._blocks.get(block_hash)
            if block is None:
                break
            found.append(block)
        # A block cannot be used without the blocks before it, so the last block must be evicted first.
        for block_hash in reversed(block_hashes[: len(found)]):
            self._blocks.get(block_hash)
        return found

    def put(self, block_hash: bytes, block: Tensor, tenant: str) -> None:
        """Add a block of a tenant's prompt."""
        # Each block has size 1, so the unit of the cache's limit is a block and not a byte.
        self._blocks.put(block_hash, block, size=1, owner=tenant)
