"""Pools that keep the promises of one worker each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Encoder, Finished, LanguageEvent, LanguageModel, Progress, Prompt
from orchestrator.pool.pool import Pool
from orchestrator.pool.queued_call import QueuedCall


class PooledEncoder:
    """An `Encoder` of many."""

    def __init__(self, pool: Pool[Encoder]) -> None:
        self._pool = pool

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """As one of them does."""
        ticket = self._pool.ticket(tenant, priority, len(media))
        return await self._pool.ask(
            ticket, deadline, lambda encoder: encoder.encode(media, deadline, tenant=tenant, priority=priority)
        )


class PooledLanguageModel:
    """A `LanguageModel` of many."""

    def __init__(self, pool: Pool[LanguageModel]) -> None:
        self._pool = pool

    def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """As one of them does. A model that fails after it has said something is not tried again elsewhere."""
        return self._pool.stream(
            # How long an answer gets is not known before; each is predicted to be as long as the others.
            self._pool.ticket(prompt.tenant, prompt.priority, 1),
            deadline,
            lambda model: model.generate(prompt, deadline),
            last=lambda event: isinstance(event, Finished),
            repeatable=False,
        )


class PooledDecoder:
    """A `Decoder` of many. `steps` is how many denoising steps a job takes that does not say."""

    def __init__(self, pool: Pool[Decoder], steps: int) -> None:
        self._pool = pool
        self._steps = steps

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As one of them does. When one fails midway and another goes on in its place, progress begins again."""
        ticket = self._pool.ticket(job.tenant, job.priority, job.steps or self._steps)
        return self.decode_with(ticket, job, deadline)

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> PooledReservation:
        """A place in the queue, and in what is expected of the replica that would be chosen now."""
        ticket = self._pool.ticket(tenant, priority, steps or self._steps)
        self._pool.reserve(ticket)
        return PooledReservation(self, ticket)

    def decode_with(self, ticket: QueuedCall, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As `decode`, with a ticket that may have been waiting already."""

        def last(event: Progress | Media) -> bool:
            if isinstance(event, Media):
                return True
            ticket.units, ticket.done = event.total, event.step
            return False

        return self._pool.stream(
            ticket, deadline, lambda decoder: decoder.decode(job, deadline), last=last, repeatable=True
        )

    def release(self, ticket: QueuedCall) -> None:
        """A reserved place is not needed."""
        self._pool.release(ticket)


class PooledReservation:
    """A `Place` in a pool."""

    def __init__(self, decoder: PooledDecoder, ticket: QueuedCall) -> None:
        self._decoder = decoder
        self._ticket = ticket

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As `PooledDecoder.decode`, from the place that was kept."""
        return self._decoder.decode_with(self._ticket, job, deadline)

    def release(self) -> None:
        """Give the place back."""
        self._decoder.release(self._ticket)
