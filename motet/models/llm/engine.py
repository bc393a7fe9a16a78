"""The language model's engine: many answers, one loop, as few passes through the network as can be."""

from __future__ import annotations

from collections import abc, deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from motet.core import metrics
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.workers import Finished, LanguageEvent
from motet.models.engine_thread import EngineThread
from motet.models.event_queue import EventQueue
from motet.models.llm.config import EngineConfig
from motet.models.llm.network import BLOCK
from motet.models.llm.prefix_cache import PrefixCache
from motet.models.llm.response_state import ModelContext, ResponseState
from motet.models.llm.sampling import NONE, next_tokens
from motet.models.llm.sequence import ScheduledChunk, Sequence
from motet.scheduling.fair_queue import FairQueue


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass brought for one answer: its run's or token's inputs and states, (tokens, width), and what follows."""

    row: Sequence
    embedded: Tensor
    states: Tensor
    token: int


class Engine:
    """Writes answers together. Each joins, and leaves, between two passes.

    A pass takes the next token, or the whole run, of every answer that is being written, and beside them a bounded
    part of the scripts that are still being read. Where there is no memory for one more answer it waits in line; none
    fails for that. The thread ends when there is nothing to do.
    """

    def __init__(self, voice: ModelContext, budget: EngineConfig) -> None:
        self._voice = voice
        self._llama = voice.llama
        self._pass_tokens = budget.pass_tokens
        self._cache = voice.llama.cache(budget.answers(voice.positions))
        self._prefixes = PrefixCache(budget.prefixes(voice.positions) // BLOCK)
        self._queue: FairQueue[Sequence] = FairQueue()
        self._reading: deque[Sequence] = deque()
        self._writing: list[Sequence] = []
        self._thread: EngineThread[Sequence] = EngineThread("language model", self._step, self._fail)
        metrics.KV_TOKENS_LIMIT.set(self._cache.limit)

    def join(self, writing: ResponseState, deadline: Deadline, events: EventQueue[list[LanguageEvent]]) -> Sequence:
        """Begin a response as soon as there is KV memory for it. Its events go to `events`.

        Raises `RetryableError` if the engine was closed.
        """
        row = Sequence(writing, deadline, events)
        self._thread.submit(row)
        return row

    def leave(self, row: Sequence) -> None:
        """Cancel a sequence. Its events are closed after at most one more forward."""
        row.leaving = True

    def close(self) -> None:
        """End all sequences with a `RetryableError`, and the thread. Wait for the current forward."""
        self._thread.close()

    # All methods below run on the engine's thread.

    @torch.inference_mode()
    def _step(self, arrived: list[Sequence], closed: bool) -> bool:
        for row in arrived:
            self._queue.add(row)
        if closed:
            self._fail(self._thread.closed_error())
        busy = bool(self._rows())
        metrics.SEQUENCES_WAITING.set(len(self._queue))
        if busy:
            try:
                self._part()
                self._admit()
                if pieces := self._next_pieces():
                    self._feed(pieces)
            except Exception as error:
                # The error is not caused by one sequence, so it ends all of them.
                self._fail(error)
        return busy

    def _fail(self, error: BaseException) -> None:
        for row in self._rows():
            self._end(row, error)

    def _rows(self) -> list[Sequence]:
        return [*self._queue, *self._reading, *self._writing]

    def _part(self) -> None:
        """Parts with those who leave, or whose time is up."""
        for row in self._rows():
            if row.leaving:
                self._end(row)
                continue
            try:
                row.deadline.check("the language model was writing")
            except Exception as error:
                self._end(row, error)

    def _admit(self) -> None:
        """Gives memory to those in line, in order; who is next is not passed over because he needs much."""
        while (row := self._queue.first(now())) is not None:
            span = self._cache.reserve(row.writing.most)
            if span is None:
                return
            self._queue.remove(row)
            self._queue.charge(row, now())
            row.span = span
            self._reading.append(row)
            metrics.KV_TOKENS_USED.set(self._cache.used)
            metrics.SEQUENCES_RUNNING.inc()
            try:
                row.embedded = self._llama.embed_script(row.writing.script)
                row.blocks = row.writing.script.blocks(BLOCK) if self._prefixes.limit else []
            except Exception as error:
                self._end(row, error)

    def _next_pieces(self) -> list[ScheduledChunk]:
        """What goes into the next pass: all that is being written, then scripts, a block of each in turn."""
        written = [row.write() for row in self._writing]
        room = self._pass_tokens - sum(piece.place.count for piece in written)
        read: list[ScheduledChunk] = []
        held = 0
        # One block at least, or those who write could keep the others from beginning.
        while held < len(self._reading) and (room > 0 or not read):
            row = self._reading.popleft()
            piece = self._next_block(row, {other.block for other in read})
            if piece is None:
                held += 1
            else:
                held = 0
                read.append(piece)
                room -= piece.place.count
            (self._reading if row.reading else self._writing).append(row)
        return [*written, *read]

    def _next_block(self, row: Sequence, being_read: set[bytes]) -> ScheduledChunk | None:
        """What the row reads next, or None where another one is just reading the same: a pass later it is known."""
        for block in self._prefixes.find(row.shared()):
            assert row.span is not None
            self._cache.write(row.span.base + row.position, block)
            row.position += BLOCK
            metrics.PREFIX_TOKENS.labels("shared").inc(BLOCK)
        if being_read.intersection(row.shared()[:1]):
            return None
        piece = row.read()
        metrics.PREFIX_TOKENS.labels("computed").inc(piece.place.count)
        return piece

    def _feed(self, pieces: abc.Sequence[ScheduledChunk]) -> None:
        """One pass. Where it fails, each piece is tried by itself, so that only the answer at fault is lost."""
        try:
            spoken = self._pass(pieces)
        except Exception as error:
            if len(pieces) == 1:
                self._end(pieces[0].row, error)
                return
            for piece in pieces:
                if piece.row.span is not None:
                    self._feed([piece])
            return
        for outcome in spoken:
            try:
                self._speak(outcome)
            except Exception as error:
                self._end(outcome.row, error)

    def _pass(self, pieces: abc.Sequence[ScheduledChunk]) -> list[Outcome]:
        """Feeds the pieces, those that are ids first. What came of those from which something is wanted."""
        metrics.FORWARDS.inc()
        ids = [token for piece in pieces for token in piece.ids]
        read = [piece.embedded for piece in pieces if piece.embedded is not None]
        embedded = torch.cat([self._llama.embed(ids), *read])
        ends = accumulate(piece.place.count for piece in pieces)
        wanted = [row for piece, end in zip(pieces, ends, strict=True) for row in range(end - piece.wanted, end)]
        states = self._llama.forward(embedded, [piece.place for piece in pieces], self._cache, wanted)
        for piece in pieces:
            if piece.block:
                at = piece.place.base + piece.place.start
                self._prefixes.keep(piece.block, self._cache.read(at, piece.place.count))
        return self._sampled(pieces, embedded, states)

    def _sampled(self, pieces: abc.Sequence[ScheduledChunk], embedded: Tensor, states: Tensor) -> list[Outcome]:
        inputs = torch.split(embedded, [piece.place.count for piece in pieces])
        outputs = torch.split(states, [piece.wanted for piece in pieces])
        spoken = [one for one in zip(pieces, inputs, outputs, strict=True) if one[0].wanted]
        if not spoken:
            return []
        logits = self._llama.logits(torch.stack([state[-1] for _, _, state in spoken]))
        hidden = torch.stack([piece.row.writing.hidden(logits.shape[1]) for piece, _, _ in spoken])
        allowed = logits.masked_fill_(hidden, float("-inf"))
        tokens = next_tokens([piece.row.writing.sampler for piece, _, _ in spoken], allowed)
        outcomes = [
            Outcome(piece.row, before, after, token)
            for (piece, before, after), token in zip(spoken, tokens, strict=True)
        ]
        # Projecting takes as long as a pass: text need not wait for it.
        return sorted(outcomes, key=lambda outcome: outcome.row.writing.run is not None)

    def _speak(self, outcome: Outcome) -> None:
        """Tells what a pass brought for one answer."""
        row, writing = outcome.row, outcome.row.writing
        if (run := writing.run) is not None:
            conditioning = self._llama.conditioning(run.modality, outcome.states, outcome.embedded)
            if self._told(row, writing.sung(run.modality, conditioning)):
                return
        if outcome.token == NONE:
            raise FaultError("the language model's numbers are not finite: check its weights")
        self._told(row, writing.take(outcome.token))

    def _told(self, row: Sequence, events: list[LanguageEvent]) -> bool:
        """Tells events; true where they are the last."""
        if not events:
            return False
        try:
            row.events.put(events)
        except RuntimeError:
            # The event loop of the reader is closed.
            row.leaving = True
        if not isinstance(events[-1], Finished):
            return False
        self._end(row)
        return True

    def _end(self, row: Sequence, error: BaseException | None = None) -> None:
        """Release everything the engine holds of a sequence, then close its events."""
        if row.span is None:
            self._queue.remove(row)
        else:
            (self._reading if row in self._reading else self._writing).remove(row)
            self._cache.release(row.span)
            row.span = None
            metrics.SEQUENCES_RUNNING.dec()
            metrics.KV_TOKENS_USED.set(self._cache.used)
        with suppress(RuntimeError):  # The event loop of the reader is closed.
            row.events.close(error)
