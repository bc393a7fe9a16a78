"""Clips."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.model import Array, DenoisingState


class TextToVideo(StableDiffusion):
    """Clips: a 3D U-Net, and an autoencoder of single frames.

    Options: also `frames`, 16 without it, and `frame_ramp`, 0 without it: see `add_frame_ramp`.
    """

    media: ClassVar[str] = "clip"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, frames, height, width)."""
        channels, height, width = super().shape
        return (channels, int(self.options.get("frames", 16)), height, width)

    def _predict(self, noisy: Tensor, times: Tensor, embeddings: Tensor) -> Tensor:
        return super()._predict(add_frame_ramp(noisy, self.options.get("frame_ramp", 0.0)), times, embeddings)

    def _stepped(self, song: DenoisingState, predicted: Tensor, time: Tensor, seeded: dict[str, Any]) -> Any:
        # Schedulers know pictures: frames are handed to them as a batch, and every step treats each value alone.
        made = song.scheduler.step(_frames(predicted), time, _frames(song.latents), **seeded)
        made.prev_sample = _clip(made.prev_sample)
        if getattr(made, "pred_original_sample", None) is not None:
            made.pred_original_sample = _clip(made.pred_original_sample)
        return made

    @torch.inference_mode()
    def preview(self, guess: Tensor) -> Array | None:
        """The middle frame."""
        return super().preview(guess[:, :, guess.shape[2] // 2])

    @torch.inference_mode()
    def finish(self, song: DenoisingState) -> Array:
        """uint8 (frames, height, width, 3)."""
        # One frame at a time: at full size, all of them at once would not fit.
        frames: Array = np.concatenate([self._pixels(frame[None]) for frame in _frames(song.latents)])
        return frames


def add_frame_ramp(noisy: Tensor, height: float) -> Tensor:
    """What a 3D U-Net is shown of latents (n, channels, frames, ...): half the channels rise from -height to height.

    A 3D U-Net knows the place of a frame only from where its neighbours end, and takes long to learn which of two
    opposite motions is which; a ramp over the frames tells it. Models that were trained without take 0.
    """
    if not height:
        return noisy
    frames = torch.linspace(-height, height, noisy.shape[2], device=noisy.device).reshape(-1, *[1] * (noisy.ndim - 3))
    half = noisy.shape[1] // 2
    return torch.cat([noisy[:, :half], noisy[:, half:] + frames], dim=1)


def _frames(clip: Tensor) -> Tensor:
    """(1, channels, frames, height, width) -> (frames, channels, height, width)."""
    return clip[0].transpose(0, 1)


def _clip(frames: Tensor) -> Tensor:
    return frames.transpose(0, 1)[None]
