"""The decoder worker: diffusion models that implement the `Decoder` protocol."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch

from motet.core.bundle import MANIFEST, MUX, Bundle, DecoderEntry
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, Reason, RequestError
from motet.core.media import Media
from motet.core.telemetry.busy_meter import Share
from motet.core.telemetry.compute_time import current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, StageTimer
from motet.core.telemetry.work import count_work
from motet.core.workers import DecodeJob, Progress
from motet.media.decode import decode_picture
from motet.media.fit import fit_picture
from motet.models.arrays import to_torch
from motet.models.device import device_of
from motet.models.diffusion import loading
from motet.models.diffusion.cost_curve import CostCurve, default_tolerance, subject_of
from motet.models.diffusion.decoder_checks import check_entry, check_networks
from motet.models.diffusion.engine import DiffusionEngine
from motet.models.diffusion.job import JobEvent, RunningJob
from motet.models.diffusion.kinds.audioldm import AudioLDM
from motet.models.diffusion.kinds.base import LatentDiffusion
from motet.models.diffusion.kinds.image_to_image import ImageToImage
from motet.models.diffusion.kinds.image_to_video import BlankImageToVideo, ImageToVideo
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.kinds.text_to_video import TextToVideo
from motet.models.diffusion.model import Array, DiffusionModel
from motet.models.dtype import DtypeSetting
from motet.models.event_queue import EventQueue
from motet.models.job_inputs import check_decode_job, read_inputs
from motet.models.model_folder import ModelFolder
from motet.models.takes import check_takes

KINDS: Mapping[str, type[LatentDiffusion]] = {
    "stable-diffusion": StableDiffusion,
    "text-to-video-sd": TextToVideo,
    "audioldm": AudioLDM,
    "image-to-image": ImageToImage,
    "image-to-video": ImageToVideo,
    "image-to-video-blank": BlankImageToVideo,
}
"""The class of each `kind` that a manifest can name."""
_MAX_LATENTS = 2**26
"""Maximum size of a job's latents, in numbers. One minute of video in full HD, at 8 frames per second, is smaller."""


class DiffusionDecoder:
    """A `Decoder`. Concurrent jobs share steps if batches are faster and change no result, and else alternate.

    No further step of a job begins after its deadline has passed, its task is cancelled or its generator is closed.
    `curves` returns the cost curve of states with a given number of rows. The event loop never computes.
    """

    def __init__(
        self,
        modality: str,
        entry: DecoderEntry,
        model: DiffusionModel,
        to_media: Callable[[Array], Media],
        curves: Callable[[int], CostCurve] = lambda rows: CostCurve(),
    ) -> None:
        self.modality = modality
        self._entry = entry
        self._model = model
        self._engine = DiffusionEngine(modality, model, to_media, curves)
        self._numbers = itertools.count()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Implement `Decoder.decode`. A job with previews gets about three, if the kind of model has previews."""
        events: EventQueue[JobEvent] = EventQueue()
        running = self._running_job(job, deadline, events)
        try:
            if job.inputs:
                running.inputs = await self._read_inputs(job, deadline)
                running.stages.enter(Stage.BATCH_WAIT)
            deadline.check("the decoder was about to begin")
            running.since = now()
            self._engine.submit(running)
            async for event in events:
                result = event if isinstance(event, Progress) else await asyncio.wrap_future(event)
                self._engine.meter.collect()
                yield result
        finally:
            running.cancelled = True
            running.stages.end()

    def close(self) -> None:
        """Stop all jobs and the threads. Wait for the step that is being computed."""
        self._engine.close()

    async def _read_inputs(self, job: DecodeJob, deadline: Deadline) -> list[Array]:
        """Return the job's pictures in the size of the model: scaled to fill it, and cut at the longer sides."""

        async def read(media: Media) -> Array:
            picture = await decode_picture(media, tenant=job.tenant)
            return await asyncio.to_thread(fit_picture, picture, *self._model.picture_size)

        return await read_inputs(job.inputs, [read] * len(job.inputs), deadline)

    def _running_job(self, job: DecodeJob, deadline: Deadline, events: EventQueue[JobEvent]) -> RunningJob:
        conditioning, steps, guidance = self._checked(job)
        return RunningJob(
            number=next(self._numbers),
            conditioning=conditioning,
            seed=job.seed,
            steps=steps,
            guidance=guidance,
            deadline=deadline,
            events=events,
            stages=StageTimer(ServiceKind.DECODER, self.modality, Stage.DECODE if job.inputs else Stage.BATCH_WAIT),
            share=Share(self.modality, current_compute_times().start(ServiceKind.DECODER, self.modality)),
            previews=job.previews,
            tenant=job.tenant,
            priority=job.priority,
            min_steps=job.min_steps,
        )

    def _checked(self, job: DecodeJob) -> tuple[torch.Tensor, int, float]:
        """Return the job's conditioning, steps and guidance. Raises `RequestError` if a field is invalid."""
        check_decode_job(job, self.modality, self._model.takes)
        expected, shape = self._entry.conditioning, list(job.conditioning.shape)
        if shape != expected or job.conditioning.dtype not in ("float32", "float16"):
            raise RequestError(
                f"the {self.modality} decoder takes float32 conditioning of shape {expected}, "
                f"not {job.conditioning.dtype} of shape {shape}",
                Reason.CONDITIONING_INVALID,
            )
        conditioning = to_torch(job.conditioning).float()
        if not torch.isfinite(conditioning).all():
            raise RequestError("the conditioning holds values that are not finite", Reason.CONDITIONING_INVALID)
        steps = self._entry.steps if job.steps is None else job.steps
        guidance = self._entry.guidance if job.guidance is None else job.guidance
        return conditioning, steps, guidance


def load_decoder(
    bundle: Bundle,
    modality: str,
    device: str = "auto",
    dtype: DtypeSetting = "auto",
    batch_tolerance: float | None = None,
    costs: Path | None = None,
) -> DiffusionDecoder:
    """Return the decoder of a modality on a device and in a dtype, see `device_of` and `dtype_of`.

    The decoder's folder has the layout of diffusers: `unet`, `vae`, `scheduler`, for sounds `vocoder`, and
    `unconditional.safetensors`. The manifest's `shared` can give other folders for the networks and the scheduler.
    `batch_tolerance` is the maximum difference that batching may make to a value of the network's output; with 0, a
    result never depends on the batch. None stands for `default_tolerance`. Measured costs of steps are stored in the
    folder `costs`, if it is given. Raises `BundleError`, which names the file, and `NotFoundError` if the bundle does
    not have the modality.
    """
    entry = bundle.manifest.decoder_of(modality)
    model = _load_model(bundle, modality, entry, device_of(device), dtype)
    subject = subject_of(bundle.digest, modality, model.device, model.dtype)
    tolerance = default_tolerance(model.device, model.dtype) if batch_tolerance is None else batch_tolerance

    def curve(rows: int) -> CostCurve:
        return CostCurve(tolerance, costs, {**subject, "rows": str(rows)})

    def to_media(array: Array) -> Media:
        count_work(ServiceKind.DECODER, modality, model.work_units(array))
        return model.to_media(array)

    return DiffusionDecoder(modality, entry, model, to_media, curve)


def _load_model(
    bundle: Bundle, modality: str, entry: DecoderEntry, device: torch.device, dtype: DtypeSetting
) -> LatentDiffusion:
    kind = KINDS.get(entry.kind)
    if kind is None:
        raise BundleError(
            f"the manifest gives the {modality} decoder the kind {entry.kind!r}; known are {', '.join((*KINDS, MUX))}"
        )
    check_entry(modality, entry, kind)
    check_takes(bundle.manifest, modality, kind.takes)
    folder = ModelFolder.of(bundle, entry.path)
    shared = {name: ModelFolder.of(bundle, path) for name, path in entry.shared.items()}
    folders = {name: shared.get(name, folder.subfolder(name)) for name in (*kind.networks, "scheduler")}
    networks = {name: loading.load_component(folders[name], device, dtype) for name in kind.networks}
    check_networks(modality, entry, kind, networks, folders)
    model = kind(
        **networks,
        scheduler=loading.load_scheduler(folders["scheduler"]),
        unconditional=loading.load_unconditional(folder, tuple(entry.conditioning)),
        options=entry.options,
    )
    if prod(model.shape) > _MAX_LATENTS:
        raise BundleError(
            f"the latents of the {modality} decoder have the shape {list(model.shape)}, which is more than "
            f"{_MAX_LATENTS} numbers: lower its options in {MANIFEST} or its sample_size"
        )
    try:
        blank = np.zeros((*model.picture_size, 3), np.uint8)
        model.prepare(model.unconditional, 0, entry.steps, entry.guidance, [blank] * len(kind.takes))
    except RequestError as error:
        raise BundleError(f"{MANIFEST}: the steps of the {modality} decoder: {error.message}") from error
    return model
