"""The decoder worker: a diffusion model on a thread of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import torch

from motet.core.bundle import Bundle, DecoderEntry
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, FaultError, Reason, RequestError
from motet.core.media import Media
from motet.core.workers import DecodeJob, Progress
from motet.media import encode
from motet.models import components
from motet.models.arrays import to_torch
from motet.models.singers import Array, AudioLDM, Singer, StableDiffusion, TextToVideo

P = ParamSpec("P")
R = TypeVar("R")

_PREVIEWS = 4


class DiffusionDecoder:
    """A `Decoder`. Jobs that come together take turns, a step each; one thread computes them all.

    Between two steps a job looks at its deadline, and a job whose task is cancelled or whose generator is closed takes
    no further step. The event loop never computes.
    """

    def __init__(self, modality: str, entry: DecoderEntry, singer: Singer, to_media: Callable[[Array], Media]) -> None:
        self.modality = modality
        self._entry = entry
        self._singer = singer
        self._to_media = to_media
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"decoder-{modality}")

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """See `Decoder.decode`. Previews come about three times, where the kind of model has any."""
        conditioning, steps, guidance = self._checked(job)
        deadline.check("the decoder was about to begin")
        song = await self._run(self._singer.prepare, conditioning, job.seed, steps, guidance)
        stride = max(1, song.total // _PREVIEWS)
        for step in range(1, song.total + 1):
            deadline.check(f"the decoder was at step {step} of {song.total}")
            await self._run(self._singer.step, song)
            due = job.previews and step % stride == 0 and step < song.total
            yield Progress(step, song.total, await self._run(self._preview, song) if due else None)
        deadline.check("the decoder was finishing")
        yield await self._run(self._finish, song)

    def close(self) -> None:
        """Ends the thread; the step that is being computed is waited for."""
        self._thread.shutdown(wait=True, cancel_futures=True)

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
        if not 1 <= guidance < math.inf:
            raise RequestError(f"guidance must be a finite number from 1 (none) up, not {guidance}")
        return conditioning, steps, guidance

    def _preview(self, song: Any) -> Media | None:
        picture = self._singer.preview(song)
        return None if picture is None else encode.encode_preview(picture)

    def _finish(self, song: Any) -> Media:
        try:
            return self._to_media(self._singer.finish(song))
        except FloatingPointError as error:
            raise FaultError(f"the {self.modality} decoder's result is not finite; try another seed") from error

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))


def load_decoder(bundle: Bundle, modality: str) -> DiffusionDecoder:
    """The decoder of a modality, ready to decode.

    Its folder is laid out as diffusers does: `unet`, `vae`, `scheduler` and for sounds `vocoder`, each of which the
    manifest's `shared` may place elsewhere, and `unconditional.safetensors`. Raises `BundleError`, naming the file;
    `NotFoundError` for a modality that the bundle does not make.
    """
    entry = bundle.manifest.decoder_of(modality)
    folder = bundle.path(entry.path)
    places = {name: bundle.path(path) for name, path in entry.shared.items()}
    parts: dict[str, Any] = {
        "unet": components.load_network(places.get("unet", folder / "unet")),
        "vae": components.load_network(places.get("vae", folder / "vae")),
        "scheduler": components.load_scheduler(places.get("scheduler", folder / "scheduler")),
        "unconditional": components.load_unconditional(folder, tuple(entry.conditioning)),
        "options": entry.options,
    }
    match entry.kind:
        case "stable-diffusion":
            return DiffusionDecoder(modality, entry, StableDiffusion(**parts), encode.encode_picture)
        case "text-to-video-sd":
            speed = entry.options.get("frames_per_second", 8.0)
            clips = TextToVideo(**parts)
            return DiffusionDecoder(modality, entry, clips, lambda frames: encode.encode_clip(frames, speed))
        case "audioldm":
            vocoder = components.load_network(places.get("vocoder", folder / "vocoder"))
            sounds = AudioLDM(vocoder, **parts)
            return DiffusionDecoder(modality, entry, sounds, lambda wave: encode.encode_sound(wave, sounds.rate))
        case kind:
            raise BundleError(
                f"the manifest gives the {modality} decoder the kind {kind!r}; known are "
                "stable-diffusion, text-to-video-sd and audioldm"
            )
