"""The encoder worker: ImageBind, with one embedding per media item."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256

import torch

from motet.core.bundle import MANIFEST, Bundle
from motet.core.concurrent.encode_each import encode_each
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.preprocessing import Preprocessing
from motet.core.telemetry.busy_meter import Share
from motet.core.telemetry.compute_time import current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, StageTimer
from motet.core.telemetry.work import Unit, count_work, pixel_work
from motet.core.tensors import Tensor
from motet.media import kinds
from motet.media.child_slots import READINGS_PER_REQUEST
from motet.media.decode import decode_clip_ends, decode_picture, decode_sound
from motet.models.config_rules import check_field, one_of, parse_config
from motet.models.device import device_of
from motet.models.dtype import DtypeSetting, dtype_of
from motet.models.encoder.batcher import Batcher
from motet.models.encoder.network import ImageBind, ImageBindConfig, TwoFrames
from motet.models.encoder.preprocessing import EDITION, REFERENCE, Views, clip_views, picture_views, sound_views
from motet.models.gpu.device_meter import device_meter
from motet.models.model_folder import ModelFolder, check_shapes
from motet.models.without_values import without_values

_CPU = torch.device("cpu")
_MODALITIES = ("image", "audio", "video")

_UNUSED = (
    "modality_postprocessors.",
    *(
        f"modality_{part}.{name}."
        for part in ("preprocessors", "trunks", "heads")
        for name in ("text", "depth", "thermal", "imu")
    ),
)
"""Prefixes of unused parameters of the reference's checkpoints: other modalities, and scales that v0 does not use."""


class ImageBindEncoder:
    """An `Encoder` with one batcher for vision and one for audio.

    Media are decoded in child processes and preprocessed on two threads. Concurrent media, of one call or of several,
    share batches, by priority and fairly between tenants. An embedding does not depend on the other media of its
    batches. An encoder belongs to one event loop.
    """

    def __init__(self, network: ImageBind, preprocessing: Preprocessing = REFERENCE) -> None:
        network.eval()
        self._config = network.config
        self._preprocessing = preprocessing
        weights = next(network.parameters())
        device, dtype = weights.device, weights.dtype
        self._meter = device_meter(ServiceKind.ENCODER, _MODALITIES, device)

        def compute(trunk: str, views: torch.Tensor) -> torch.Tensor:
            return network(trunk, views.to(device, dtype)).cpu()

        self._vision = Batcher("vision", partial(compute, "vision"), meter=self._meter)
        self._audio = Batcher("audio", partial(compute, "audio"), meter=self._meter)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="encoder-preprocessing")

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Implement `Encoder.encode`. An embedding is the mean over an item's views, as in NExT-GPT v0."""
        readings = asyncio.Semaphore(READINGS_PER_REQUEST)
        embed = partial(self._embedding, tenant=tenant, priority=priority, readings=readings)
        try:
            return await encode_each(media, embed, deadline)
        finally:
            self._meter.collect()

    def close(self) -> None:
        """Stop the threads. Wait for the running computations."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._vision.close()
        self._audio.close()

    async def _embedding(self, item: Media, tenant: str, priority: int, readings: asyncio.Semaphore) -> Tensor:
        modality = kinds.modality_of(item.media_type or kinds.sniff(item.data) or "")
        batcher = self._audio if modality == "audio" else self._vision
        label = modality or OTHER
        share = Share(label, current_compute_times().start(ServiceKind.ENCODER, label))
        with StageTimer(ServiceKind.ENCODER, label, Stage.QUEUE) as stages:
            async with batcher.slots.slot(tenant, priority):
                async with readings:
                    stages.enter(Stage.DECODE)
                    preprocess = await self._decode(item, modality, tenant)
                stages.enter(Stage.PREPROCESS)
                views = await asyncio.get_running_loop().run_in_executor(self._threads, preprocess)
                return await batcher.embedding(views, priority, stages, share)

    async def _decode(self, item: Media, modality: str | None, tenant: str) -> Callable[[], Views]:
        """Decode an item, and return the function that computes its views, which must run on a thread."""
        choices = self._preprocessing
        match modality:
            case "audio":
                sound, rate = await decode_sound(item, preprocessing=choices, tenant=tenant)
                count_work(ServiceKind.ENCODER, modality, {Unit.SECONDS: len(sound) / rate})
                return lambda: sound_views(sound, rate, self._config.audio, choices)
            case "video":
                ends = await decode_clip_ends(item, preprocessing=choices, tenant=tenant)
                frame = next(iter(ends.frames.values()))
                count_work(ServiceKind.ENCODER, modality, pixel_work((len(ends), *frame.shape)))
                return lambda: clip_views(ends, ends.rate, self._config.vision.size, choices)
            case _:
                # Bytes of an unknown type are refused here, too.
                picture = await decode_picture(item, preprocessing=choices, tenant=tenant)
                count_work(ServiceKind.ENCODER, modality or OTHER, pixel_work(picture.shape))
                return lambda: _as_clip(picture_views(picture, self._config.vision.size, choices))


def _as_clip(still: Views) -> Views:
    """Return the views of a picture as clips of two equal frames, which can share a batch with other clips."""
    return Views(TwoFrames()(still.pixels), still.weights)


def load_encoder(bundle: Bundle, device: str = "auto", dtype: DtypeSetting = "auto") -> ImageBindEncoder:
    """Return the encoder of a bundle on a device and in a dtype, see `device_of` and `dtype_of`.

    Raises `BundleError`.
    """
    entry = bundle.manifest.encoder
    check_field(MANIFEST, "encoder.kind", entry.kind, one_of("imagebind"))
    for modality in entry.modalities:
        check_field(MANIFEST, "encoder.modalities", modality, one_of(*_MODALITIES))
    network = load_imagebind(ModelFolder.of(bundle, entry.path), device_of(device), dtype)
    return ImageBindEncoder(network, entry.preprocessing)


def version_of(bundle: Bundle) -> str:
    """Return the version of the embeddings. It changes with the weights and with the preprocessing."""
    entry = bundle.manifest.encoder
    folder = f"{entry.path}/"
    weights = sorted((name, digest) for name, digest in bundle.manifest.files.items() if name.startswith(folder))
    return sha256(repr((EDITION, entry.preprocessing, weights)).encode()).hexdigest()


def load_imagebind(folder: ModelFolder, device: torch.device = _CPU, dtype: DtypeSetting = "auto") -> ImageBind:
    """Return the network of a folder with `config.json` and `model.safetensors`, on a device.

    Accepts the reference's checkpoints unchanged, and ignores their other modalities. Raises `BundleError` if another
    parameter is missing or unexpected.
    """
    config = parse_config(ImageBindConfig, folder.config(), folder.label("config.json"))
    with without_values():
        network = ImageBind(config).eval()
    state, label = folder.weights("model")
    used = {name: value for name, value in state.items() if not name.startswith(_UNUSED)}
    check_shapes(network.state_dict(), used, label)
    network.load_state_dict(used, assign=True)
    return network.to(device, dtype_of(dtype, device, used.values()))
