"""ImageBind as a worker: media in, one embedding each out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import load_file

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, MediaError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.media import kinds
from motet.media.decode import decode_clip, decode_picture, decode_sound
from motet.models.arrays import from_torch
from motet.models.towers import ImageBind, ImageBindConfig
from motet.models.views import Views, clip_views, picture_views, sound_views

# What the reference's checkpoints hold besides the two towers: other senses, and scales that v0 leaves out.
_UNUSED = (
    "modality_postprocessors.",
    *(
        f"modality_{part}.{name}."
        for part in ("preprocessors", "trunks", "heads")
        for name in ("text", "depth", "thermal", "imu")
    ),
)


class ImageBindEncoder:
    """An `Encoder` on its own thread. Media are decoded in a child process, so that the event loop never waits."""

    def __init__(self, network: ImageBind) -> None:
        self._network = network.eval()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")

    async def encode(self, media: Sequence[Media], deadline: Deadline) -> list[Tensor]:
        """See `Encoder.encode`: float32 of shape (width,), the mean over an item's views, as NExT-GPT v0 reads them."""
        embeddings = []
        for index, item in enumerate(media):
            deadline.check("the encoder was reading media")
            try:
                async with asyncio.timeout(deadline.remaining()):
                    look = await self._decoded(item)
            except MediaError as error:
                raise MediaError(error.message, error.reason, {**error.metadata, "index": str(index)}) from error
            except TimeoutError:
                deadline.check("the encoder was reading media")
                raise
            loop = asyncio.get_running_loop()
            embeddings.append(await loop.run_in_executor(self._thread, self._embedded, look))
        return embeddings

    def close(self) -> None:
        """Ends the thread; what is being computed is waited for."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _decoded(self, item: Media) -> Callable[[], Views]:
        """The item, decoded; the views are still to be cut, which takes time and is done on the thread."""
        config = self._network.config
        match kinds.MODALITIES.get(kinds.sniff(item.data) or ""):
            case "audio":
                sound, rate = await decode_sound(item)
                return lambda: sound_views(sound, rate, config.audio)
            case "video":
                frames, speed = await decode_clip(item)
                return lambda: clip_views(frames, speed, config.vision.size)
            case _:
                # Bytes that are nothing known are refused here too.
                picture = await decode_picture(item)
                return lambda: picture_views(picture, config.vision.size)

    @torch.inference_mode()
    def _embedded(self, look: Callable[[], Views]) -> Tensor:
        views = look()
        each = self._network(views.tower, views.pixels)  # (views, width)
        return from_torch((views.weights[:, None] * each).sum(dim=0))


def load_encoder(bundle: Bundle) -> ImageBindEncoder:
    """The encoder of a bundle, ready to read. Raises `BundleError`."""
    return ImageBindEncoder(load_network(bundle.path(bundle.manifest.encoder.path)))


def load_network(folder: Path) -> ImageBind:
    """The network in a folder with `config.json` and `model.safetensors`, in float32.

    Accepts the reference's checkpoints as they are: towers of other senses are left out. Any other parameter
    that is missing, or one too many, raises `BundleError`.
    """
    network = ImageBind(ImageBindConfig.read(json.loads((folder / "config.json").read_text()))).eval()
    state = load_file(folder / "model.safetensors")
    used = {name: value.float() for name, value in state.items() if not name.startswith(_UNUSED)}
    found = network.load_state_dict(used, strict=False)
    for trouble, names in (("missing", found.missing_keys), ("unexpected", found.unexpected_keys)):
        if names:
            raise BundleError(
                f"{folder.name}/model.safetensors has {len(names)} {trouble} parameters, such as {names[0]}"
            )
    return network
