"""The tokens of the language model that an answer costs its tenant."""

from __future__ import annotations

from motet.core.workers import Finished, LanguageEvent, Prompt

_BYTES_PER_TOKEN = 4
"""Bytes of text that count as one token of a prompt whose answer did not reach its end."""


class TokenCost:
    """The cost of one answer, in tokens.

    At its end, the model reports the tokens of the prompt and of the answer. Without this report, the answer was
    interrupted, and costs one token for each event that arrived. If there is one, or if the answer was given up while a
    model was `computing`, it also costs the prompt. The prompt's tokens are estimated from its size, up to the model's
    `max_tokens`.
    """

    def __init__(self, prompt: Prompt, max_tokens: int) -> None:
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._events = 0
        self._reported: int | None = None
        self.computing = False
        """True if the caller gave up the answer while a model had its prompt, also before the first event."""

    def add(self, event: LanguageEvent) -> None:
        """Count an event of the model."""
        self._events += 1
        if isinstance(event, Finished):
            self._reported = event.input_tokens + event.output_tokens

    @property
    def tokens(self) -> int:
        """The cost so far."""
        if self._reported is not None:
            return self._reported
        return self._events + self._estimate() if self._events or self.computing else 0

    def _estimate(self) -> int:
        """Return the estimated tokens of the prompt. A medium counts as one token."""
        parts = [part for turn in self._prompt.turns for part in turn.parts]
        text = sum(len(part.encode()) for part in parts if isinstance(part, str))
        media = sum(not isinstance(part, str) for part in parts)
        return min(self._max_tokens, text // _BYTES_PER_TOKEN + media)
