"""Pools that implement the protocol of a single worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.events import TEXT
from motet.core.media import Media
from motet.core.telemetry.families import generation_metrics
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.stage import OTHER
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Encoder, LanguageEvent, LanguageModel, Progress, Prompt
from motet.media.kinds import modality_of
from orchestrator.pool.pool import Pool
from orchestrator.pool.queued_call import QueuedCall
from orchestrator.pool.receivers import DecodeReceiver, EncodeReceiver, LanguageReceiver


class PooledEncoder:
    """An `Encoder` over a pool of encoders."""

    def __init__(self, pool: Pool[Encoder]) -> None:
        self._pool = pool

    @property
    def available(self) -> bool:
        """True if a replica can be reached."""
        return self._pool.available

    def predicted_seconds(self, media: int) -> float:
        """Return how long a number of media is predicted to take at one replica, in seconds."""
        return self._pool.predicted_seconds(media)

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Implement `Encoder.encode`."""

        async def encode_on(encoder: Encoder) -> AsyncIterator[list[Tensor]]:
            yield await encoder.encode(media, deadline, tenant=tenant, priority=priority)

        call = self._pool.call(tenant, priority, len(media))
        call.modality = _modality_of(media)
        async with closing(self._pool.stream(call, deadline, encode_on, EncodeReceiver())) as results:
            return await anext(results)


class PooledLanguageModel:
    """A `LanguageModel` over a pool of language models."""

    def __init__(self, pool: Pool[LanguageModel]) -> None:
        self._pool = pool

    @property
    def available(self) -> bool:
        """True if a replica can be reached."""
        return self._pool.available

    def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Implement `LanguageModel.generate`. After a failure another replica repeats the answer and continues it."""
        # The length of a response is unknown beforehand, so each response counts as one unit of work.
        call = self._pool.call(prompt.tenant, prompt.priority, units=1)
        call.modality = TEXT
        receiver = LanguageReceiver(prompt.max_tokens)
        return self._pool.stream(call, deadline, lambda model: model.generate(prompt, deadline), receiver)


class PooledDecoder:
    """A `Decoder` over a pool of decoders. `steps` is the number of denoising steps of a job that gives none."""

    def __init__(self, pool: Pool[Decoder], steps: int) -> None:
        self._pool = pool
        self._steps = steps

    @property
    def available(self) -> bool:
        """True if a replica can be reached."""
        return self._pool.available

    def predicted_seconds(self, steps: int) -> float:
        """Return how long denoising steps are predicted to take at one replica, in seconds."""
        return self._pool.predicted_seconds(steps)

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Implement `Decoder.decode`. If another replica takes over a job, its progress starts at the first step."""
        call = self._pool.call(job.tenant, job.priority, job.steps or self._steps, patient=True)
        return PooledReservation(self._pool, call).decode(job, deadline)

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> PooledReservation:
        """Return a reservation: a position in the queue, which also counts as work of the replica chosen now."""
        call = self._pool.call(tenant, priority, steps or self._steps, patient=True, reserve=True)
        return PooledReservation(self._pool, call)


class PooledReservation:
    """A `Reservation` of a `PooledDecoder`."""

    def __init__(self, pool: Pool[Decoder], call: QueuedCall) -> None:
        self._pool = pool
        self._call = call

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Implement `Reservation.decode`."""
        call = self._call
        call.modality = job.modality

        def decode_on(decoder: Decoder) -> AsyncIterator[Progress | Media]:
            if call.attempts > 1:
                labelled(generation_metrics.MEDIA_JOB_RETRIES, job.modality).inc()
            return decoder.decode(job, deadline)

        receiver = DecodeReceiver(call, job.modality)
        return self._pool.stream(call, deadline, decode_on, receiver)

    def release(self) -> None:
        """End the reservation."""
        self._pool.release(self._call)


def _modality_of(media: Sequence[Media]) -> str:
    """Return the modality of all media of a call, or `OTHER` if it is unknown or there are several."""
    modalities = {modality_of(item.media_type) or OTHER for item in media}
    return modalities.pop() if len(modalities) == 1 else OTHER
