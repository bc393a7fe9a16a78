"""The limits of a language model's engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of one language model's engine, in tokens. None selects a default that depends on the model.

    `kv_tokens` is the size of the KV cache. Sequences that do not fit wait. The minimum is one conversation of
    maximum length, and the default is twelve. `prefix_cache_tokens` is the size of the prefix cache. 0 disables it,
    and the default is four conversations of maximum length. `max_batched_tokens` is the approximate number of tokens
    per forward. Long prompts are prefilled in chunks of that size, and other sequences continue between the chunks.
    """

    kv_tokens: int | None = None
    prefix_cache_tokens: int | None = None
    max_batched_tokens: int = 128

    def kv_cache_size(self, max_positions: int) -> int:
        """Return the size of the KV cache in tokens, if a conversation has at most `max_positions` tokens."""
        return 12 * max_positions if self.kv_tokens is None else max(max_positions, self.kv_tokens)

    def prefix_cache_size(self, max_positions: int) -> int:
        """Return the size of the prefix cache in tokens, if a conversation has at most `max_positions` tokens."""
        return 4 * max_positions if self.prefix_cache_tokens is None else self.prefix_cache_tokens
