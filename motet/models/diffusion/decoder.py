"""The decoder worker: diffusion models behind the `Decoder` protocol."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import torch

from motet.core.bundle import Bundle, DecoderEntry
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, Reason, RequestError
from motet.core.media import Media
from motet.core.workers import DecodeJob, Progress
from motet.media import encode
from motet.models.arrays import to_torch
from motet.models.device import device_of
from motet.models.diffusion import loading
from motet.models.diffusion.cost_curve import CostCurve, subject_of
from motet.models.diffusion.engine import DiffusionEngine
from motet.models.diffusion.job import JobEvent, RunningJob
from motet.models.diffusion.kinds.audioldm import AudioLDM
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.kinds.text_to_video import TextToVideo
from motet.models.diffusion.model import Array, DiffusionModel
from motet.models.event_queue import EventQueue


class DiffusionDecoder:
    """A `Decoder`. Jobs that come together share steps where that pays and changes nothing, and take turns elsewhere.

    A job whose deadline passes, whose task is cancelled or whose generator is closed takes no step that has not begun.
    `curves` gives the cost curve for songs of so many rows, where one was kept. The event loop never computes.
    """

    def __init__(
        self,
        modality: str,
        entry: DecoderEntry,
        singer: DiffusionModel,
        to_media: Callable[[Array], Media],
        curves: Callable[[int], CostCurve] = lambda rows: CostCurve(),
    ) -> None:
        self.modality = modality
        self._entry = entry
        self._choir = DiffusionEngine(modality, singer, to_media, curves)
        self._numbers = itertools.count()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """See `Decoder.decode`. Previews come about three times, where the kind of model has any."""
        events: EventQueue[JobEvent] = EventQueue()
        seat = self._seat(job, deadline, events)
        deadline.check("the decoder was about to begin")
        self._choir.join(seat)
        try:
            async for event in events:
                yield event if isinstance(event, Progress) else await asyncio.wrap_future(event)
        finally:
            seat.gone = True

    def close(self) -> None:
        """Ends the threads; the step that is being computed is waited for."""
        self._choir.close()

    def _seat(self, job: DecodeJob, deadline: Deadline, events: EventQueue[JobEvent]) -> RunningJob:
        conditioning, steps, guidance = self._checked(job)
        return RunningJob(
            number=next(self._numbers),
            conditioning=conditioning,
            seed=job.seed,
            steps=steps,
            guidance=guidance,
            deadline=deadline,
            events=events,
            previews=job.previews,
            tenant=job.tenant,
            priority=job.priority,
            min_steps=job.min_steps,
        )

    def _checked(self, job: DecodeJob) -> tuple[torch.Tensor, int, float]:
        """The job's conditioning, steps and guidance. Raises `RequestError` for what this decoder cannot do."""
        if job.modality != self.modality:
            raise RequestError(
                f"this decoder makes {self.modality}, not {job.modality!r}",
                Reason.MODALITY_NOT_SUPPORTED,
                {"modality": job.modality, "supported": self.modality},
            )
        wanted, got = self._entry.conditioning, list(job.conditioning.shape)
        if got != wanted or job.conditioning.dtype not in ("float32", "float16"):
            raise RequestError(
                f"the {self.modality} decoder takes float32 conditioning of shape {wanted}, "
                f"not {job.conditioning.dtype} of shape {got}",
                Reason.CONDITIONING_INVALID,
            )
        conditioning = to_torch(job.conditioning).float()
        if not torch.isfinite(conditioning).all():
            raise RequestError("the conditioning holds values that are not finite", Reason.CONDITIONING_INVALID)
        steps = self._entry.steps if job.steps is None else job.steps
        guidance = self._entry.guidance if job.guidance is None else job.guidance
        if not 1 <= steps <= 1000:
            raise RequestError(f"steps must be from 1 to 1000, not {steps}")
        if job.min_steps is not None and job.min_steps < 1:
            raise RequestError(f"min_steps must be at least 1, not {job.min_steps}")
        if not 1 <= guidance < math.inf:
            raise RequestError(f"guidance must be a finite number from 1 (none) up, not {guidance}")
        return conditioning, steps, guidance


def load_decoder(
    bundle: Bundle, modality: str, device: str = "auto", batch_tolerance: float = 0.0, costs: Path | None = None
) -> DiffusionDecoder:
    """The decoder of a modality, ready to decode, on the device of that setting (`device_of`).

    Its folder is laid out as diffusers does: `unet`, `vae`, `scheduler` and for sounds `vocoder`, each of which the
    manifest's `shared` may place elsewhere, and `unconditional.safetensors`. `batch_tolerance` is the largest
    difference that the rest of a batch may make to a value of the network's output; with 0 a result never depends on
    the batch. Measured costs of steps are stored in the folder `costs`, if it is given. Raises `BundleError`, naming
    the file, and `NotFoundError` for a modality that the bundle does not have.
    """
    entry = bundle.manifest.decoder_of(modality)
    singer, to_media = _loaded(bundle, modality, entry, device_of(device))
    subject = subject_of(bundle.digest, modality, singer.device)

    def curve(rows: int) -> CostCurve:
        return CostCurve(batch_tolerance, costs, {**subject, "rows": str(rows)})

    return DiffusionDecoder(modality, entry, singer, to_media, curve)


def _loaded(
    bundle: Bundle, modality: str, entry: DecoderEntry, device: torch.device
) -> tuple[DiffusionModel, Callable[[Array], Media]]:
    folder = bundle.path(entry.path)
    places = {name: bundle.path(path) for name, path in entry.shared.items()}

    def network(name: str) -> Any:
        return loading.load_component(places.get(name, folder / name)).to(device)

    parts: dict[str, Any] = {
        "unet": network("unet"),
        "vae": network("vae"),
        "scheduler": loading.load_scheduler(places.get("scheduler", folder / "scheduler")),
        "unconditional": loading.load_unconditional(folder, tuple(entry.conditioning)),
        "options": entry.options,
    }
    match entry.kind:
        case "stable-diffusion":
            return StableDiffusion(**parts), encode.encode_picture
        case "text-to-video-sd":
            speed = entry.options.get("frames_per_second", 8.0)
            return TextToVideo(**parts), lambda frames: encode.encode_clip(frames, speed)
        case "audioldm":
            sounds = AudioLDM(network("vocoder"), **parts)
            return sounds, lambda wave: encode.encode_sound(wave, sounds.rate)
        case kind:
            raise BundleError(
                f"the manifest gives the {modality} decoder the kind {kind!r}; known are "
                "stable-diffusion, text-to-video-sd and audioldm"
            )
