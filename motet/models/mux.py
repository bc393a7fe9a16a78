"""The kind `mux`: a decoder without weights, which joins a clip and a sound in one file. It needs no torch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, suppress
from typing import Any

from motet.core.bundle import MANIFEST, Manifest
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import CancelledError
from motet.core.media import Media
from motet.core.telemetry.busy_meter import BusyMeter, Share
from motet.core.telemetry.compute_time import current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import DecodeJob, Progress
from motet.media.decode import decode_clip, decode_sound
from motet.media.encode import encode_film
from motet.models.config_rules import check_field, one_of
from motet.models.event_queue import EventQueue
from motet.models.job_inputs import check_decode_job, read_inputs
from motet.models.takes import check_takes
from motet.scheduling.fair_semaphore import FairSemaphore

_TAKES = ("video", "audio")
_ENCODINGS = 2
"""Maximum number of films that are encoded at once."""


class MuxDecoder:
    """A `Decoder` of an MP4 with the frames of a clip and a sound, its inputs in this order.

    The clip decides the length: a longer sound is cut at its end, a shorter one is followed by silence. A sound in the
    file of the clip is dropped. The frames have their average rate, and the sound has one channel. The conditioning,
    the seed, the steps and the guidance of a job have no effect, and `Progress` counts the frames. Equal inputs give
    equal bytes.
    """

    def __init__(self, manifest: Manifest, modality: str) -> None:
        """Raise `BundleError` if the manifest requests anything else of the decoder."""
        entry = manifest.decoder_of(modality)
        check_takes(manifest, modality, _TAKES)
        label = f"{MANIFEST}, the {modality} decoder"
        check_field(label, "media_type", entry.media_type, one_of("video/mp4"))
        check_field(label, "steps", entry.steps, one_of(1))
        check_field(label, "guidance", entry.guidance, one_of(1))
        check_field(label, "shared", entry.shared, one_of({}))
        check_field(label, "options", entry.options, one_of({}))
        self.modality = modality
        self._meter = BusyMeter(ServiceKind.DECODER, [modality])
        self._slots = FairSemaphore(_ENCODINGS)

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Implement `Decoder.decode`. No further frame is encoded after the deadline or a cancellation."""
        check_decode_job(job, self.modality, _TAKES)
        deadline.check("the decoder was about to begin")

        async def read_clip(media: Media) -> tuple[Any, float]:
            return await decode_clip(media, tenant=job.tenant)

        async def read_sound(media: Media) -> tuple[Any, Any]:
            return await decode_sound(media, tenant=job.tenant)

        clip, sound = await read_inputs(job.inputs, (read_clip, read_sound), deadline)
        share = Share(self.modality, current_compute_times().start(ServiceKind.DECODER, self.modality))
        measured = self._meter.measure([share])
        async with (
            self._slots.slot(job.tenant, job.priority),
            closing(_encoded(clip, sound, deadline, measured)) as events,
        ):
            async for event in events:
                yield event


async def _encoded(
    clip: tuple[Any, float], sound: tuple[Any, Any], deadline: Deadline, measured: AbstractContextManager[None]
) -> AsyncIterator[Progress | Media]:
    """Encode a clip and a sound on another thread. Yield the progress of each frame and then the media.

    The encoding runs within the context `measured`.
    """
    events: EventQueue[Progress | Media] = EventQueue()
    cancelled, total = threading.Event(), len(clip[0])

    def report(frames: int) -> None:
        if cancelled.is_set():
            raise CancelledError("the caller cancelled the job")
        deadline.check(f"the decoder was at frame {frames} of {total}")
        events.put(Progress(frames, total))

    def encode() -> None:
        # The event loop of the reader may be closed.
        with suppress(RuntimeError):
            try:
                with measured:
                    film = encode_film(*clip, *sound, report)
                events.put(film)
                events.close()
            except Exception as error:
                events.close(error)

    encoding = asyncio.create_task(asyncio.to_thread(encode))
    try:
        async for event in events:
            yield event
    finally:
        cancelled.set()
        await asyncio.shield(encoding)
