"""Finished media, given again to whoever asks for the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from itertools import chain, repeat
from operator import attrgetter

from motet.caching.lru import LruCache
from motet.caching.shared_streams import SharedStreams
from motet.core import metrics
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.metrics import labelled
from motet.core.workers import DecodeJob, Decoder, Progress, Reservation, reservable

Finished = LruCache[bytes, Media]

_TOLD_APART = {"conditioning", "inputs"}
_UNDECIDING = {"previews", "priority", "min_steps"}
_deciding = attrgetter(*sorted({field.name for field in fields(DecodeJob)} - _TOLD_APART - _UNDECIDING))
"""What decides a job's media, beside its conditioning and its inputs."""


class CachingDecoder:
    """A `Decoder` that does equal jobs of one tenant once: what is under way is shared, finished media are kept.

    `model` names the weights; `memory` may be shared by decoders of several modalities. What several wait for goes on
    while one of them does. Nothing that failed is kept.

    A job that may take fewer steps is given what is kept, which took them all; else it is done for it alone, as its
    deadline decides what comes out, and is not kept.
    """

    def __init__(self, decoder: Decoder, model: str, memory: Finished) -> None:
        self._decoder = decoder
        self._model = model
        self._memory = memory
        self._flights: SharedStreams[Progress | Media] = SharedStreams()

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As the decoder does. Who joins a job under way is told its latest progress first; kept media come at once."""
        return self.decode_at(UnreservedJob(self._decoder), job, deadline)

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> CachingReservation:
        """A place for a job that may prove not to need one."""
        decoder = reservable(self._decoder)
        if decoder is None:
            return CachingReservation(self, UnreservedJob(self._decoder))
        return CachingReservation(self, decoder.reserve(steps=steps, tenant=tenant, priority=priority))

    async def decode_at(
        self, place: Reservation, job: DecodeJob, deadline: Deadline
    ) -> AsyncIterator[Progress | Media]:
        """As `decode`, at a place of the decoder's, which is given back at once where the job does not need it."""
        key = await self._key(job)
        kept = self._memory.get(key)
        if kept is not None:
            place.release()
            _count(job, "kept")
            yield kept
            return
        shared = job.min_steps is None
        made = self._shared(key, place, job, deadline) if shared else _alone(place, job, deadline)
        async with closing(made) as events:
            async for event in events:
                yield event

    def _shared(
        self, key: bytes, place: Reservation, job: DecodeJob, deadline: Deadline
    ) -> AsyncIterator[Progress | Media]:
        # Whoever is in more of a hurry does not wait with those who are in less.
        flight = (key, job.previews, job.priority)
        joined = flight in self._flights
        if joined:
            place.release()
        _count(job, "joined" if joined else "computed")
        # A place is good for one attempt.
        attempts = chain([place], repeat(self._decoder))
        return self._flights.join(flight, lambda until: self._made(key, next(attempts), job, until), deadline)

    async def _made(
        self, key: bytes, decoder: Decoder, job: DecodeJob, deadline: Deadline
    ) -> AsyncIterator[Progress | Media]:
        async with closing(decoder.decode(job, deadline)) as events:
            async for event in events:
                if isinstance(event, Media):
                    self._memory.keep(key, event, len(event.data))
                    yield event
                    return
                yield event

    async def _key(self, job: DecodeJob) -> bytes:
        """32 bytes, equal for jobs of one tenant that make equal media."""
        # Inputs may be large, and the event loop does not wait for their digests.
        inputs = await asyncio.to_thread(_told, job.inputs) if job.inputs else ()
        tensor = job.conditioning
        told = (self._model, _deciding(job), inputs, tensor.dtype, tensor.shape)
        return sha256(repr(told).encode() + tensor.data).digest()


@dataclass(frozen=True, slots=True)
class CachingReservation:
    """A `Reservation` of a `CachingDecoder`."""

    decoder: CachingDecoder
    place: Reservation

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As `CachingDecoder.decode`, from the place that was kept."""
        return self.decoder.decode_at(self.place, job, deadline)

    def release(self) -> None:
        """Give the place back."""
        self.place.release()


@dataclass(frozen=True, slots=True)
class UnreservedJob:
    """The `Reservation` for which nothing was reserved."""

    decoder: Decoder

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As the decoder does."""
        return self.decoder.decode(job, deadline)

    def release(self) -> None:
        """There is nothing to give back."""


def _alone(place: Reservation, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
    _count(job, "computed")
    return place.decode(job, deadline)


def _told(inputs: Sequence[Media]) -> tuple[tuple[str, bytes], ...]:
    return tuple((media.media_type, media.sha256) for media in inputs)


def _count(job: DecodeJob, outcome: str) -> None:
    labelled(metrics.MEDIA_CACHE, job.modality, outcome).inc()
