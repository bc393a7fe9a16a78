"""A cache of finished media around a decoder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from hashlib import sha256
from itertools import chain, repeat
from operator import attrgetter

from motet.caching.lru import LruCache
from motet.caching.shared_streams import SharedStreams
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.logs.log_fields import add_field
from motet.core.media import MAX_INLINE_BYTES, Media
from motet.core.telemetry.families import generation_metrics
from motet.core.telemetry.prometheus import labelled
from motet.core.tracing.names import CACHE
from motet.core.tracing.span import current_span
from motet.core.workers import DecodeJob, Decoder, Progress, Reservation, is_available, predicted_seconds, reservable

MediaCache = LruCache[bytes, Media]

_HASHED_FIELDS = {"conditioning", "inputs"}
_IGNORED_FIELDS = {"previews", "priority", "min_steps"}
_key_fields = attrgetter(*sorted({field.name for field in fields(DecodeJob)} - _HASHED_FIELDS - _IGNORED_FIELDS))
"""The small fields of a job that determine its media. The key hashes the conditioning and the inputs separately."""


class CachingDecoder:
    """A `Decoder` that runs equal jobs of one tenant once: it shares running jobs and caches finished media.

    `model` identifies the weights. Decoders of several modalities may share one `cache`. A shared job runs until its
    last caller stops. Errors are not cached. Tenants share the cache as the owners of an `LruCache`.

    A job with `min_steps` may use cached media, because they have all steps. If no media are cached, the job runs alone
    and its result is not cached, because the deadline affects the result.
    """

    def __init__(self, decoder: Decoder, model: str, cache: MediaCache) -> None:
        self._decoder = decoder
        self._model = model
        self._cache = cache
        self._streams: SharedStreams[Progress | Media] = SharedStreams()

    @property
    def available(self) -> bool:
        """True if the decoder can be reached."""
        return is_available(self._decoder)

    def predicted_seconds(self, steps: int) -> float:
        """Return how long denoising steps are predicted to take, in seconds."""
        return predicted_seconds(self._decoder, steps)

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Implement `Decoder.decode`. A caller that joins a running job gets its latest progress first."""
        return self.decode_reserved(UnreservedJob(self._decoder), job, deadline)

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> CachingReservation:
        """Reserve a slot for a future job, see `Reservable.reserve`. A cached job does not use the slot."""
        decoder = reservable(self._decoder)
        if decoder is None:
            return CachingReservation(self, UnreservedJob(self._decoder))
        return CachingReservation(self, decoder.reserve(steps=steps, tenant=tenant, priority=priority))

    async def decode_reserved(
        self, reservation: Reservation, job: DecodeJob, deadline: Deadline
    ) -> AsyncIterator[Progress | Media]:
        """Run a job in a reserved slot. Release the slot at once if the job is cached or joins a running job."""
        key = await self._key(job)
        cached = self._cache.get(key)
        if cached is not None:
            reservation.release()
            _count(job, "hit")
            add_field("replica", "cache")
            yield cached
            return
        shareable = job.min_steps is None
        stream = self._join(key, reservation, job, deadline) if shareable else _run_alone(reservation, job, deadline)
        async with closing(stream) as events:
            async for event in events:
                yield event

    def _join(
        self, key: bytes, reservation: Reservation, job: DecodeJob, deadline: Deadline
    ) -> AsyncIterator[Progress | Media]:
        # A job never waits for a running job of lower priority.
        stream = (key, job.previews, job.priority)
        joined = stream in self._streams
        if joined:
            add_field("replica", "joined")
            reservation.release()
        _count(job, "joined" if joined else "miss")
        # A reservation is valid for one attempt.
        attempts = chain([reservation], repeat(self._decoder))
        keep = partial(self._keep, key, job.tenant)
        return self._streams.join(stream, lambda until: next(attempts).decode(job, until), deadline, keep)

    def _keep(self, key: bytes, tenant: str, event: Progress | Media) -> bool:
        """Cache media, and return whether an event is a job's last one."""
        if not isinstance(event, Media):
            return False
        self._cache.put(key, event, len(event.data), tenant)
        return True

    async def _key(self, job: DecodeJob) -> bytes:
        """Return 32 bytes, equal for jobs of one tenant that produce equal media."""
        # A thread computes the digests of large inputs and does not block the event loop. For small ones, the change of
        # threads takes longer than the digests, which are known in most cases.
        large = sum(len(media.data) for media in job.inputs) > MAX_INLINE_BYTES
        inputs = await asyncio.to_thread(_digests, job.inputs) if large else _digests(job.inputs)
        tensor = job.conditioning
        description = (self._model, _key_fields(job), inputs, tensor.dtype, tensor.shape)
        return sha256(repr(description).encode() + tensor.data).digest()


@dataclass(frozen=True, slots=True)
class CachingReservation:
    """A `Reservation` of a `CachingDecoder`."""

    decoder: CachingDecoder
    reservation: Reservation

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Run a job in the reserved slot, see `CachingDecoder.decode`."""
        return self.decoder.decode_reserved(self.reservation, job, deadline)

    def release(self) -> None:
        """Release the slot."""
        self.reservation.release()


@dataclass(frozen=True, slots=True)
class UnreservedJob:
    """A `Reservation` without a reserved slot."""

    decoder: Decoder

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Run a job, see `Decoder.decode`."""
        return self.decoder.decode(job, deadline)

    def release(self) -> None:
        """Do nothing: no slot is reserved."""


def _run_alone(reservation: Reservation, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
    _count(job, "miss")
    return reservation.decode(job, deadline)


def _digests(inputs: Sequence[Media]) -> tuple[tuple[str, bytes], ...]:
    return tuple((media.media_type, media.sha256) for media in inputs)


def _count(job: DecodeJob, outcome: str) -> None:
    labelled(generation_metrics.MEDIA_CACHE, job.modality, outcome).inc()
    current_span().set(CACHE, outcome)
