"""How much one language model may hold in memory and do at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of one language model's engine.

    `kv_tokens` is how many tokens' keys and values are held at most, three quarters of them for answers and one for
    beginnings that scripts share; 0 stands for sixteen conversations of full length. Answers that find no room wait.
    `pass_tokens` is about how many tokens go through the network at once: long prompts are read in parts of that size,
    between which the other answers go on.
    """

    kv_tokens: int = 0
    pass_tokens: int = 128

    def answers(self, positions: int) -> int:
        """Tokens for answers, where one takes at most `positions`: there is always room for one."""
        return max(positions, self._total(positions) * 3 // 4)

    def prefixes(self, positions: int) -> int:
        """Tokens for what scripts have in common; 0 where one answer needs it all."""
        return max(0, self._total(positions) - self.answers(positions))

    def _total(self, positions: int) -> int:
        return self.kv_tokens or 16 * positions
