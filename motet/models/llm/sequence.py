"""One answer's place in the engine: what it feeds the network next, and where that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from motet.core.deadline import Deadline
from motet.core.workers import LanguageEvent
from motet.models.llm.attention import Place
from motet.models.llm.kv_cache import Span
from motet.models.llm.network import BLOCK
from motet.models.llm.response_state import Writing

Told = list[LanguageEvent] | Exception | None
"""What an engine says of an answer: events, or the error that ended it; then None, once nothing is left of it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one answer feeds in one pass: part of its script, a token it wrote, or a whole run.

    `wanted` is how many of its last states are needed afterwards. `embedded`, (tokens, width), is None where `ids` are
    to be embedded. `block` names what will be kept for others with the same beginning, b"" for nothing.
    """

    row: Row
    place: Place
    wanted: int
    ids: Sequence[int] = ()
    embedded: Tensor | None = None
    block: bytes = b""


@dataclass(slots=True, eq=False)
class Row:
    """One answer. `tell` is called on the engine's thread, and says nothing more after None."""

    writing: Writing
    deadline: Deadline
    tell: Callable[[Told], None]
    leaving: bool = False
    """Nobody wants the rest of it."""
    span: Span | None = None
    """Its memory; None while it waits, and after it has ended."""
    position: int = 0
    """How many of its tokens were fed, or are in the pass that is being made."""
    embedded: Tensor | None = None
    blocks: list[bytes] = field(default_factory=list)

    @property
    def reading(self) -> bool:
        """Whether some of the script was not fed yet."""
        return self.position < len(self.writing.script.ids)

    def shared(self) -> list[bytes]:
        """The names of the next blocks that another answer may have read already. The last token is always read."""
        if self.position % BLOCK:
            return []
        last = (len(self.writing.script.ids) - 1) // BLOCK
        return self.blocks[self.position // BLOCK : last]

    def read(self) -> Piece:
        """The next part of the script."""
        assert self.embedded is not None
        start, length = self.position, len(self.writing.script.ids)
        end = min(start + BLOCK, length)
        number = start // BLOCK
        block = self.blocks[number] if number < len(self.blocks) else b""
        return Piece(self, self._on(end - start), int(end == length), embedded=self.embedded[start:end], block=block)

    def write(self) -> Piece:
        """The token, or the run, that was just decided on."""
        writing = self.writing
        count = len(writing.pending)
        return Piece(self, self._on(count), count if writing.run else 1, ids=writing.pending)

    def _on(self, count: int) -> Place:
        assert self.span is not None
        place = Place(self.span.base, self.position, count)
        self.position += count
        return place
