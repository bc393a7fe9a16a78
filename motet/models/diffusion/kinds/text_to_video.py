"""The kind `text-to-video-sd`, which makes clips."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from motet.core.media import Media
from motet.media import encode
from motet.models.config_rules import Rule, whole
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.model import Array, DenoisingState


class TextToVideo(StableDiffusion):
    """Clips, from a 3D U-Net and an autoencoder of single frames.

    Options: those of `StableDiffusion`, `frames` (default 16), `frames_per_second` (default 8), and `frame_ramp`
    (default 0), see `add_frame_ramp`.
    """

    networks: ClassVar = {**StableDiffusion.networks, "unet": ("UNet3DConditionModel",)}
    media_type: ClassVar = "video/mp4"
    option_rules: ClassVar = {
        **StableDiffusion.option_rules,
        "frames": whole(1, 1024),
        "frames_per_second": Rule("from 0.1 to 240", lambda value: 0.1 <= value <= 240),
        "frame_ramp": Rule("from 0 to 100", lambda value: 0 <= value <= 100),
    }

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (channels, frames, height, width) of the latents."""
        channels, height, width = super().shape
        return (channels, int(self.options.get("frames", 16)), height, width)

    def _network_input(self, state: DenoisingState) -> Tensor:
        return add_frame_ramp(super()._network_input(state), self.options.get("frame_ramp", 0.0))

    def _scheduler_step(self, state: DenoisingState, output: Tensor, generator: dict[str, Any]) -> Any:
        # Schedulers accept only pictures, so frames become the batch axis. A step computes each value independently.
        result = state.scheduler.step(_to_frames(output), state.timestep, _to_frames(state.latents), **generator)
        result.prev_sample = _to_clip(result.prev_sample)
        if getattr(result, "pred_original_sample", None) is not None:
            result.pred_original_sample = _to_clip(result.pred_original_sample)
        return result

    @torch.inference_mode()
    def preview(self, pred_original_sample: Tensor) -> Array | None:
        """Return the middle frame, uint8 (height, width, 3)."""
        return super().preview(pred_original_sample[:, :, pred_original_sample.shape[2] // 2])

    @torch.inference_mode()
    def finish(self, state: DenoisingState) -> Array:
        """Return the clip, uint8 (frames, height, width, 3)."""
        # Decode one frame at a time: at full size, all frames at once would need too much memory.
        frames: Array = np.concatenate([self._to_pixels(frame[None]) for frame in _to_frames(state.latents)])
        return frames

    def to_media(self, array: Array) -> Media:
        """Encode the clip as a file."""
        return encode.encode_clip(array, self.options.get("frames_per_second", 8.0))


def add_frame_ramp(noisy: Tensor, height: float) -> Tensor:
    """Add a linear ramp over the frames to half of the channels of latents (n, channels, frames, ...).

    The ramp rises from -height to height. A 3D U-Net sees the position of a frame only at the borders of the clip, and
    learns slowly to distinguish two opposite motions. The ramp shows it the position. Use 0 for models that were
    trained without a ramp.
    """
    if not height:
        return noisy
    frames = torch.linspace(-height, height, noisy.shape[2], device=noisy.device).reshape(-1, *[1] * (noisy.ndim - 3))
    half = noisy.shape[1] // 2
    return torch.cat([noisy[:, :half], noisy[:, half:] + frames], dim=1)


def _to_frames(clip: Tensor) -> Tensor:
    """Reshape (1, channels, frames, height, width) to (frames, channels, height, width)."""
    return clip[0].transpose(0, 1)


def _to_clip(frames: Tensor) -> Tensor:
    """Invert `_to_frames`."""
    return frames.transpose(0, 1)[None]
