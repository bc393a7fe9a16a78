"""ImageBind as a worker: media in, one embedding each out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

from safetensors.torch import load_file

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.encode_each import encode_each
from motet.core.errors import BundleError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.media import kinds
from motet.media.decode import decode_clip, decode_picture, decode_sound
from motet.models.device import device_of
from motet.models.encoder.batcher import Batcher
from motet.models.encoder.network import ImageBind, ImageBindConfig, TwoFrames
from motet.models.encoder.preprocessing import EDITION, Views, clip_views, picture_views, sound_views

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
    """An `Encoder` whose towers compute on a thread each, from a queue each.

    Media that come at the same time, in one call or in many, are decoded in child processes, cut into views on threads
    of their own, and looked at together: the urgent first, and tenants by turns. What comes out for one does not depend
    on the others. Belongs to one loop.
    """

    def __init__(self, network: ImageBind) -> None:
        network.eval()
        self._config = network.config
        device = next(network.parameters()).device
        self._vision = Batcher("vision", lambda clips: network("vision", clips.to(device)).cpu())
        self._audio = Batcher("audio", lambda sounds: network("audio", sounds.to(device)).cpu())
        self._cutters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="encoder-views")

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """See `Encoder.encode`: float32 of shape (width,), the mean over an item's views, as NExT-GPT v0 reads them."""
        return await encode_each(media, partial(self._embedding, tenant=tenant, priority=priority), deadline)

    def close(self) -> None:
        """Ends the threads; what is being computed is waited for."""
        self._cutters.shutdown(wait=True, cancel_futures=True)
        self._vision.close()
        self._audio.close()

    async def _embedding(self, item: Media, tenant: str, priority: int) -> Tensor:
        modality = kinds.modality_of(item.media_type or kinds.sniff(item.data) or "")
        tower = self._audio if modality == "audio" else self._vision
        async with tower.room.slot(tenant, priority):
            cut = await self._decoded(item, modality)
            views = await asyncio.get_running_loop().run_in_executor(self._cutters, cut)
            return await tower.embedding(views, priority)

    async def _decoded(self, item: Media, modality: str | None) -> Callable[[], Views]:
        """The item, decoded; the views are still to be cut, which takes time and is done on a thread."""
        match modality:
            case "audio":
                sound, rate = await decode_sound(item)
                return lambda: sound_views(sound, rate, self._config.audio)
            case "video":
                frames, speed = await decode_clip(item)
                return lambda: clip_views(frames, speed, self._config.vision.size)
            case _:
                # Bytes that are nothing known are refused here too.
                picture = await decode_picture(item)
                return lambda: _as_clip(picture_views(picture, self._config.vision.size))


def _as_clip(still: Views) -> Views:
    """A picture as clips are, two equal frames, so that they can go through the tower together."""
    return Views(TwoFrames()(still.pixels), still.weights)


def load_encoder(bundle: Bundle, device: str = "auto") -> ImageBindEncoder:
    """The encoder of a bundle, ready to read, on the device of that setting (`device_of`). Raises `BundleError`."""
    return ImageBindEncoder(load_imagebind(bundle.path(bundle.manifest.encoder.path)).to(device_of(device)))


def version_of(bundle: Bundle) -> str:
    """Changes when equal media might be embedded otherwise: with the weights, and with the code that cuts views."""
    folder = f"{bundle.manifest.encoder.path}/"
    weights = sorted((name, digest) for name, digest in bundle.manifest.files.items() if name.startswith(folder))
    return sha256(repr((EDITION, weights)).encode()).hexdigest()


def load_imagebind(folder: Path) -> ImageBind:
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
