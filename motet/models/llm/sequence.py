"""One sequence in the engine, and the chunks of it that the engine schedules."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass, field

from torch import Tensor

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.events import TEXT
from motet.core.telemetry.busy_meter import Share
from motet.core.telemetry.compute_time import ComputeTime, ComputeTimes
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import StageTimer
from motet.core.workers import LanguageEvent
from motet.models.event_queue import EventQueue
from motet.models.llm.layers.attention import TokenRange
from motet.models.llm.layers.kv_cache import KvSlot
from motet.models.llm.network import BLOCK_SIZE
from motet.models.llm.response_state import ResponseState


@dataclass(frozen=True, slots=True)
class ScheduledChunk:
    """The tokens of one sequence in one forward: a block of its prompt, a sampled token, or a whole signal run.

    `output_count` is the number of last tokens whose states are needed after the forward. `embedded`, (tokens, width),
    is None if `ids` must be embedded. `block_hash` is the prefix cache's key for the chunk, or b"" if the chunk is
    not cached.
    """

    sequence: Sequence
    tokens: TokenRange
    output_count: int
    ids: abc.Sequence[int] = ()
    embedded: Tensor | None = None
    block_hash: bytes = b""

    @property
    def share(self) -> Share:
        """The chunk's share of its forward. A signal run belongs to the modality that it requests."""
        run = self.sequence.response.run
        return self.sequence.share(TEXT if run is None else run.modality, self.tokens.count)


@dataclass(slots=True, eq=False)
class Sequence:
    """One response in the engine, an item of its `FairQueue`.

    `events` is closed as soon as the engine holds no resource of the sequence.
    """

    response: ResponseState
    deadline: Deadline
    events: EventQueue[list[LanguageEvent]]
    stages: StageTimer
    compute_times: ComputeTimes
    since: float = field(default_factory=now)
    cancelled: bool = False
    output_at: float | None = None
    """The time of the last output, or None."""
    slot: KvSlot | None = None
    """The slot in the KV cache. None while the sequence waits, and after it has finished."""
    position: int = 0
    """Number of tokens that are in the KV cache or in the current forward."""
    embedded: Tensor | None = None
    """The input embeddings of the prompt, (tokens, width). None while the sequence waits."""
    block_hashes: list[bytes] = field(default_factory=list)
    """The hashes of the prompt's full blocks. Empty if the prefix cache is disabled."""
    _times: dict[str, ComputeTime] = field(default_factory=dict)
    """The sequence's part of `compute_times`, by modality."""

    @property
    def tenant(self) -> str:
        """The tenant of the prompt."""
        return self.response.prompt.tenant

    @property
    def priority(self) -> int:
        """The priority of the prompt."""
        return self.response.prompt.priority

    @property
    def cost(self) -> float:
        """The maximum number of tokens of prompt and response."""
        return self.response.max_tokens

    @property
    def prefilling(self) -> bool:
        """True until the whole prompt is prefilled."""
        return self.position < len(self.response.prompt_tokens)

    def share(self, modality: str, weight: float = 1.0) -> Share:
        """Return a share of a batch that computes for the sequence. Its seconds are added to `compute_times`."""
        if modality not in self._times:
            self._times[modality] = self.compute_times.start(ServiceKind.LANGUAGE_MODEL, modality)
        return Share(modality, self._times[modality], weight)

    def cacheable_blocks(self) -> list[bytes]:
        """Return the hashes of the next blocks that may be in the prefix cache.

        The block with the prompt's last token is excluded, because the state of that token is needed.
        """
        if self.position % BLOCK_SIZE:
            return []
        last = (len(self.response.prompt_tokens) - 1) // BLOCK_SIZE
        return self.block_hashes[self.position // BLOCK_SIZE : last]

    def prefill_chunk(self) -> ScheduledChunk:
        """Return the next block of the prompt, and advance."""
        assert self.embedded is not None
        start, length = self.position, len(self.response.prompt_tokens)
        end = min(start + BLOCK_SIZE, length)
        number = start // BLOCK_SIZE
        block_hash = self.block_hashes[number] if number < len(self.block_hashes) else b""
        return ScheduledChunk(
            self,
            self._advance(end - start),
            int(end == length),
            embedded=self.embedded[start:end],
            block_hash=block_hash,
        )

    def decode_chunk(self) -> ScheduledChunk:
        """Return the pending token or signal run, and advance."""
        response = self.response
        count = len(response.pending)
        return ScheduledChunk(self, self._advance(count), count if response.run else 1, ids=response.pending)

    def _advance(self, count: int) -> TokenRange:
        assert self.slot is not None
        tokens = TokenRange(self.slot.base, self.position, count)
        self.position += count
        return tokens


@dataclass(frozen=True, slots=True)
class SequenceOutput:
    """The result of one forward for one sequence.

    `embedded` and `states`, both (tokens, width), are the inputs and the states of its token or signal run. `token` is
    the sampled next token.
    """

    sequence: Sequence
    embedded: Tensor
    states: Tensor
    token: int
