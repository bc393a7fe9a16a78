"""The language model's engine: continuous batching of all sequences on one thread."""

from __future__ import annotations

from collections import abc, deque
from itertools import accumulate

import torch
from torch import Tensor

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.events import TEXT
from motet.core.telemetry.compute_time import current_compute_times
from motet.core.telemetry.families import llm_metrics
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, StageTimer
from motet.core.workers import Finished, LanguageEvent
from motet.models.dtype import not_finite
from motet.models.engine_thread import EngineThread, engine_error
from motet.models.event_queue import EventBatch, EventQueue
from motet.models.gpu.device_meter import device_meter
from motet.models.llm.config import EngineConfig
from motet.models.llm.network import BLOCK_SIZE
from motet.models.llm.prefix_cache import PrefixCache
from motet.models.llm.response_state import ModelContext, ResponseState
from motet.models.llm.sampling import NO_TOKEN, next_tokens
from motet.models.llm.sequence import ScheduledChunk, Sequence, SequenceOutput
from motet.scheduling.fair_queue import FairQueue

_NAME = "language model"


class LanguageModelEngine:
    """An engine that decodes many sequences in one batch. Sequences start and stop between two forwards.

    A forward contains the next token, or the whole signal run, of every decoding sequence. It also contains blocks of
    the prompts that are being prefilled, up to a limit. A sequence waits in a queue until the KV cache has a slot for
    it. The thread sleeps if there is no work.
    """

    def __init__(self, context: ModelContext, config: EngineConfig) -> None:
        self._llama = context.llama
        self._token_mask = context.token_mask
        self._max_batched_tokens = config.max_batched_tokens
        self._cache = context.llama.cache(config.kv_cache_size(context.positions))
        self._prefix_cache = PrefixCache(config.prefix_cache_size(context.positions) // BLOCK_SIZE)
        self._waiting: FairQueue[Sequence] = FairQueue()
        self._prefilling: deque[Sequence] = deque()
        self._decoding: list[Sequence] = []
        self._events = EventBatch()
        self.meter = device_meter(ServiceKind.LANGUAGE_MODEL, (TEXT, *context.shapes), context.llama.device)
        self._thread: EngineThread[Sequence] = EngineThread(_NAME, self._step, self._fail)
        llm_metrics.KV_TOKENS_LIMIT.set(self._cache.limit)

    def add(
        self, response: ResponseState, deadline: Deadline, events: EventQueue[list[LanguageEvent]], stages: StageTimer
    ) -> Sequence:
        """Add a response, which starts as soon as the KV cache has a slot for it. Its events go to `events`.

        `stages` gets its stages, and the caller's task its compute times. Raises `RetryableError` if the engine is
        closed.
        """
        stages.enter(Stage.QUEUE)
        sequence = Sequence(response, deadline, events, stages, current_compute_times())
        self._thread.submit(sequence)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Cancel a sequence. Its events are closed after at most one more forward."""
        sequence.cancelled = True

    def close(self) -> None:
        """Stop all sequences with a `RetryableError`, then the thread. Wait for the current forward."""
        self._thread.close()

    # All methods below run on the engine's thread.

    @torch.inference_mode()
    def _step(self, arrived: list[Sequence], closed: bool) -> bool:
        for sequence in arrived:
            self._waiting.add(sequence)
        if closed:
            self._fail(self._thread.closed_error())
        busy = bool(self._sequences())
        self._report_waiting()
        if busy:
            try:
                self._stop_cancelled_and_expired()
                self._admit()
                if chunks := self._schedule():
                    self._run(chunks)
            except Exception as error:
                # The error is not caused by one sequence, so it stops all of them.
                self._fail(error)
            self._send_events()
        return busy

    def _fail(self, error: BaseException) -> None:
        for sequence in self._sequences():
            self._finish(sequence, error)
        self._send_events()

    def _send_events(self) -> None:
        """Send the events of all sequences. Cancel the sequences whose readers have closed their event loops."""
        if unsent := self._events.send():
            for sequence in self._sequences():
                sequence.cancelled |= sequence.events in unsent

    def _sequences(self) -> list[Sequence]:
        return [*self._waiting, *self._prefilling, *self._decoding]

    def _stop_cancelled_and_expired(self) -> None:
        for sequence in self._sequences():
            if sequence.cancelled:
                self._finish(sequence)
                continue
            try:
                sequence.deadline.check("the language model was generating")
            except Exception as error:
                self._finish(sequence, error)

    def _admit(self) -> None:
        """Reserve KV slots for waiting sequences, in order. A smaller sequence never overtakes the first one."""
        while (sequence := self._waiting.first(now())) is not None:
            slot = self._cache.reserve(sequence.response.max_tokens)
            if slot is None:
                return
            self._waiting.remove(sequence)
            self._waiting.charge(sequence, now())
            sequence.slot = slot
            sequence.stages.enter(Stage.BATCH_WAIT)
            self._prefilling.append(sequence)
            llm_metrics.KV_TOKENS_USED.set(self._cache.used)
            llm_metrics.SEQUENCES_RUNNING.inc()
            try:
                prompt_tokens = sequence.response.prompt_tokens
                sequence.embedded = self._llama.embed_prompt(prompt_tokens)
                if self._prefix_cache.limit:
                    sequence.block_hashes = prompt_tokens.block_hashes(BLOCK_SIZE, sequence.tenant)
            except Exception as error:
                self._finish(sequence, error)

    def _schedule(self) -> list[ScheduledChunk]:
        """Return the chunks of the next forward: all decoding sequences, then blocks of prompts by round-robin."""
        decode = [sequence.decode_chunk() for sequence in self._decoding]
        budget = self._max_batched_tokens - sum(chunk.tokens.count for chunk in decode)
        prefill: list[ScheduledChunk] = []
        postponed = 0
        # Every forward has at least one block, so decoding sequences cannot starve the others.
        while postponed < len(self._prefilling) and (budget > 0 or not prefill):
            sequence = self._prefilling.popleft()
            chunk = self._next_block(sequence, {other.block_hash for other in prefill})
            if chunk is None:
                postponed += 1
            else:
                postponed = 0
                prefill.append(chunk)
                budget -= chunk.tokens.count
            (self._prefilling if sequence.prefilling else self._decoding).append(sequence)
        return [*decode, *prefill]

    def _next_block(self, sequence: Sequence, scheduled: set[bytes]) -> ScheduledChunk | None:
        """Copy the prompt's next blocks from the prefix cache, and return the first block that is not cached.

        Return None if an equal block is scheduled for this forward. The block is a cache hit in the next one.
        """
        for block in self._prefix_cache.find(sequence.cacheable_blocks()):
            assert sequence.slot is not None
            self._cache.write(sequence.slot.base + sequence.position, block)
            sequence.position += BLOCK_SIZE
            llm_metrics.PREFIX_TOKENS.labels("hit").inc(BLOCK_SIZE)
        if scheduled.intersection(sequence.cacheable_blocks()[:1]):
            return None
        chunk = sequence.prefill_chunk()
        sequence.stages.enter(Stage.PREFILL)
        llm_metrics.PREFIX_TOKENS.labels("miss").inc(chunk.tokens.count)
        return chunk

    def _run(self, chunks: abc.Sequence[ScheduledChunk]) -> None:
        """Run one forward. If it fails, run each chunk alone, so that only the sequence at fault fails."""
        started = now()
        try:
            with self.meter.measure([chunk.share for chunk in chunks]):
                outputs = self._forward(chunks)
        except Exception as error:
            if len(chunks) == 1:
                self._finish(chunks[0].sequence, error)
                return
            for chunk in chunks:
                if chunk.sequence.slot is not None:
                    self._run([chunk])
            return
        ended = now()
        llm_metrics.FORWARD_SECONDS.observe(ended - started)
        llm_metrics.BATCH_SEQUENCES.observe(len(chunks))
        for output in outputs:
            self._record_output(output.sequence, ended)
            try:
                self._process(output)
            except Exception as error:
                self._finish(output.sequence, error)

    def _record_output(self, sequence: Sequence, at: float) -> None:
        if sequence.output_at is not None:
            llm_metrics.INTER_TOKEN_SECONDS.observe(at - sequence.output_at)
        sequence.output_at = at
        sequence.stages.enter(Stage.DECODE_STEP, at)

    def _report_waiting(self) -> None:
        moment = now()
        oldest = min((sequence.since for sequence in self._waiting), default=moment)
        llm_metrics.SEQUENCES_WAITING.set(len(self._waiting))
        llm_metrics.LLM_OLDEST_WAIT_SECONDS.set(moment - oldest)

    def _forward(self, chunks: abc.Sequence[ScheduledChunk]) -> list[SequenceOutput]:
        """Run one forward of the chunks, those with ids first. Return the outputs of the chunks that need a token."""
        llm_metrics.FORWARDS.inc()
        ids = [token for chunk in chunks for token in chunk.ids]
        prompts = [chunk.embedded for chunk in chunks if chunk.embedded is not None]
        embedded = torch.cat([self._llama.embed(ids), *prompts])
        ends = accumulate(chunk.tokens.count for chunk in chunks)
        output_rows = [
            row for chunk, end in zip(chunks, ends, strict=True) for row in range(end - chunk.output_count, end)
        ]
        states = self._llama.forward(embedded, [chunk.tokens for chunk in chunks], self._cache, output_rows)
        for chunk in chunks:
            if chunk.block_hash:
                start = chunk.tokens.base + chunk.tokens.start
                block = self._cache.read(start, chunk.tokens.count)
                self._prefix_cache.put(chunk.block_hash, block, chunk.sequence.tenant)
        return self._sample(chunks, embedded, states)

    def _sample(self, chunks: abc.Sequence[ScheduledChunk], embedded: Tensor, states: Tensor) -> list[SequenceOutput]:
        inputs = torch.split(embedded, [chunk.tokens.count for chunk in chunks])
        outputs = torch.split(states, [chunk.output_count for chunk in chunks])
        sampled = [
            (chunk.sequence, before, after)
            for chunk, before, after in zip(chunks, inputs, outputs, strict=True)
            if chunk.output_count
        ]
        if not sampled:
            return []
        logits = self._llama.logits(torch.stack([after[-1] for _, _, after in sampled]))
        samplers = [sequence.response.sampler for sequence, _, _ in sampled]
        tokens = next_tokens(samplers, logits.masked_fill_(self._token_mask, float("-inf")))
        results = [
            SequenceOutput(sequence, before, after, token)
            for (sequence, before, after), token in zip(sampled, tokens, strict=True)
        ]
        # The projection of a run takes as long as a forward. Text is sent before it.
        return sorted(results, key=lambda output: output.sequence.response.run is not None)

    def _process(self, output: SequenceOutput) -> None:
        """Add the events of one sequence's output to those that are sent together."""
        sequence, response = output.sequence, output.sequence.response
        if (run := response.run) is not None:
            self._send_events()
            with self.meter.measure([sequence.share(run.modality)]):
                conditioning = self._llama.conditioning(run.modality, output.states, output.embedded)
                events = response.finish_run(run.modality, conditioning)
            if self._emit(sequence, events):
                return
        if output.token == NO_TOKEN:
            raise not_finite("the language model's output", self._llama.dtype, "check its weights")
        self._emit(sequence, response.accept(output.token))

    def _emit(self, sequence: Sequence, events: list[LanguageEvent]) -> bool:
        """Add events for the reader. Finish the sequence and return True if the last event is `Finished`."""
        if not events:
            return False
        self._events.put(sequence.events, events)
        if not isinstance(events[-1], Finished):
            return False
        self._finish(sequence)
        return True

    def _finish(self, sequence: Sequence, error: BaseException | None = None) -> None:
        """Release all resources of a sequence, then close its events."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
        else:
            (self._prefilling if sequence in self._prefilling else self._decoding).remove(sequence)
            self._cache.release(sequence.slot)
            sequence.slot = None
            llm_metrics.SEQUENCES_RUNNING.dec()
            llm_metrics.KV_TOKENS_USED.set(self._cache.used)
        sequence.stages.end()
        self._events.close(sequence.events, None if error is None else engine_error(error, _NAME))
