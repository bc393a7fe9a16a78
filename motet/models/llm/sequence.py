"""One answer's place in the engine: what it feeds the network next, and where that is kept."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass, field

from torch import Tensor

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.workers import LanguageEvent
from motet.models.event_queue import EventQueue
from motet.models.llm.attention import TokenRange
from motet.models.llm.kv_cache import KvSlot
from motet.models.llm.network import BLOCK
from motet.models.llm.response_state import ResponseState


@dataclass(frozen=True, slots=True)
class ScheduledChunk:
    """What one answer feeds in one pass: part of its script, a token it wrote, or a whole run.

    `wanted` is how many of its last states are needed afterwards. `embedded`, (tokens, width), is None where `ids` are
    to be embedded. `block` names what will be kept for others with the same beginning, b"" for nothing.
    """

    row: Sequence
    place: TokenRange
    wanted: int
    ids: abc.Sequence[int] = ()
    embedded: Tensor | None = None
    block: bytes = b""


@dataclass(slots=True, eq=False)
class Sequence:
    """One response in the engine, an item of its `FairQueue`.

    `events` is closed as soon as the engine holds nothing of the sequence.
    """

    writing: ResponseState
    deadline: Deadline
    events: EventQueue[list[LanguageEvent]]
    since: float = field(default_factory=now)
    leaving: bool = False
    """Nobody wants the rest of it."""
    span: KvSlot | None = None
    """Its memory; None while it waits, and after it has ended."""
    position: int = 0
    """How many of its tokens were fed, or are in the pass that is being made."""
    embedded: Tensor | None = None
    blocks: list[bytes] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        """The tenant of the prompt."""
        return self.writing.prompt.tenant

    @property
    def priority(self) -> int:
        """The priority of the prompt."""
        return self.writing.prompt.priority

    @property
    def cost(self) -> float:
        """The maximum number of tokens of prompt and response."""
        return self.writing.most

    @property
    def ready(self) -> bool:
        """True: every waiting sequence can start."""
        return True

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

    def read(self) -> ScheduledChunk:
        """The next part of the script."""
        assert self.embedded is not None
        start, length = self.position, len(self.writing.script.ids)
        end = min(start + BLOCK, length)
        number = start // BLOCK
        block = self.blocks[number] if number < len(self.blocks) else b""
        return ScheduledChunk(
            self, self._on(end - start), int(end == length), embedded=self.embedded[start:end], block=block
        )

    def write(self) -> ScheduledChunk:
        """The token, or the run, that was just decided on."""
        writing = self.writing
        count = len(writing.pending)
        return ScheduledChunk(self, self._on(count), count if writing.run else 1, ids=writing.pending)

    def _on(self, count: int) -> TokenRange:
        assert self.span is not None
        place = TokenRange(self.span.base, self.position, count)
        self.position += count
        return place
