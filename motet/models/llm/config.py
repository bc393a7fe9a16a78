"""How much one language model may hold in memory and do at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The bounds of one language model's engine; None is what suits the model.

    `kv_tokens` is for how many tokens of scripts and answers there is memory: answers that find no room wait. It is
    never less than one conversation of full length, and twelve of them unless told. `prefix_tokens` is how many tokens
    are remembered beside them of what scripts begin with; none with 0, and four conversations' unless told.
    `pass_tokens` is about how many tokens go through the network at once: long prompts are read in parts of that size,
    between which the other answers go on.
    """

    kv_tokens: int | None = None
    prefix_tokens: int | None = None
    pass_tokens: int = 128

    def answers(self, positions: int) -> int:
        """Tokens there is memory for, where a conversation takes at most `positions`."""
        return 12 * positions if self.kv_tokens is None else max(positions, self.kv_tokens)

    def prefixes(self, positions: int) -> int:
        """Tokens that are remembered of scripts' beginnings."""
        return 4 * positions if self.prefix_tokens is None else self.prefix_tokens
