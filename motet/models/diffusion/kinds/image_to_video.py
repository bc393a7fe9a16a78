"""The kinds `image-to-video`, which makes clips that begin with a picture, and `image-to-video-blank`, without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import pi
from typing import Any, ClassVar

import torch
from torch import Tensor

from motet.core.bundle import DecoderEntry
from motet.models.config_rules import Rule, one_of, whole
from motet.models.diffusion.kinds.text_to_video import TextToVideo
from motet.models.diffusion.model import Array, DenoisingState


class BlankImageToVideo(TextToVideo):
    """Clips without a picture, from networks of `ImageToVideo`: the latents of the picture are 0.

    So one U-Net can serve two signals, if it was trained both with pictures and with 0. Options: those of
    `TextToVideo`, and `position_frequencies` (default 0), see `add_positions`.
    """

    option_rules: ClassVar = {**TextToVideo.option_rules, "position_frequencies": whole(0, 8)}

    @classmethod
    def field_rules(cls, entry: DecoderEntry, configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        rules = super().field_rules(entry, configs)
        channels = 2 * configs["vae"]["latent_channels"] + 4 * int(entry.options.get("position_frequencies", 0))
        return {**rules, "unet": {**rules["unet"], "in_channels": one_of(channels)}}

    def _network_input(self, state: DenoisingState) -> Tensor:
        noisy = super()._network_input(state)
        frame = torch.zeros_like(noisy[:, :, 0]) if state.further_channels is None else state.further_channels
        return add_positions(add_first_frame(noisy, frame), int(self.options.get("position_frequencies", 0)))


class ImageToVideo(BlankImageToVideo):
    """Clips, from the networks of `TextToVideo` and a picture, the first frame.

    The U-Net has twice as many input channels: the noisy latents, with the frame ramp, and then the latents of the
    picture, repeated for each frame. The latents are the mode of the autoencoder's distribution, scaled like the noisy
    ones. With guidance, both rows have the picture, so the guidance applies to the conditioning alone.

    Options: those of `BlankImageToVideo`, and `residual` (default 0). With 1, the U-Net makes the difference between
    the latents of the clip and those of the picture. So it need not copy what does not move.
    """

    takes: ClassVar = ("image",)
    option_rules: ClassVar = {**BlankImageToVideo.option_rules, "residual": whole(0, 1)}

    @classmethod
    def field_rules(cls, entry: DecoderEntry, configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        rules = super().field_rules(entry, configs)
        return {**rules, "vae": {**rules["vae"], "in_channels": one_of(3)}}

    @torch.inference_mode()
    def prepare(
        self, conditioning: Tensor, seed: int, steps: int, guidance: float, inputs: Sequence[Array] = ()
    ) -> DenoisingState:
        """Implement `DiffusionModel.prepare`."""
        state = super().prepare(conditioning, seed, steps, guidance, inputs)
        state.further_channels = self._encode(inputs[0])
        return state

    @torch.inference_mode()
    def advance(self, state: DenoisingState, output: Tensor) -> None:
        """Implement `DiffusionModel.advance`."""
        super().advance(state, output)
        if state.pred_original_sample is not None:
            state.pred_original_sample = self._whole(state.pred_original_sample, state)

    @torch.inference_mode()
    def finish(self, state: DenoisingState) -> Array:
        """Return the clip, uint8 (frames, height, width, 3)."""
        return super().finish(replace(state, latents=self._whole(state.latents, state)))

    def _whole(self, latents: Tensor, state: DenoisingState) -> Tensor:
        """Return the latents of the clip, from those that the U-Net makes."""
        assert state.further_channels is not None
        return latents + state.further_channels[:, :, None] if self.options.get("residual") else latents


def add_first_frame(noisy: Tensor, frame: Tensor) -> Tensor:
    """Append the latents of the first frame, (n, channels, height, width), to each frame of noisy latents.

    The noisy latents have the shape (n, channels, frames, height, width), and the result has twice the channels.
    """
    return torch.cat([noisy, frame[:, :, None].expand(noisy.shape)], dim=1)


def add_positions(channels: Tensor, frequencies: int) -> Tensor:
    """Append the place of each latent in its frame to channels (n, channels, frames, height, width).

    Each frequency has four channels: the sine and the cosine of the row, and those of the column. The first frequency
    is half a period per side, and each further one is twice the one before (Tancik et al. 2020). Without them, a U-Net
    sees the place of a latent only from the borders, and turns of a picture lose its detail. Use 0 for models that were
    trained without positions.
    """
    n, _, frames, height, width = channels.shape
    waves = []
    for frequency in range(frequencies):
        for side, shape in ((height, (height, 1)), (width, (1, width))):
            places = (torch.arange(side, device=channels.device) + 0.5) / side * 2 - 1
            angles = (places * (pi / 2 * 2**frequency)).reshape(shape).expand(height, width)
            waves += [angles.sin(), angles.cos()]
    if not waves:
        return channels
    positions = torch.stack(waves).to(channels.dtype)[None, :, None].expand(n, -1, frames, -1, -1)
    return torch.cat([channels, positions], dim=1)
