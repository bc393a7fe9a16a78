"""The kinds `image-to-video`, which makes clips that begin with a picture, and `image-to-video-blank`, without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from motet.models.config_rules import Rule, one_of, whole
from motet.models.diffusion.kinds.text_to_video import TextToVideo
from motet.models.diffusion.model import Array, DenoisingState


class ImageToVideo(TextToVideo):
    """Clips, from the networks of `TextToVideo` and a picture, the first frame.

    The U-Net has twice as many input channels: the noisy latents, with the frame ramp, and then the latents of the
    picture, repeated for each frame. The latents are the mode of the autoencoder's distribution, scaled like the noisy
    ones. With guidance, both rows have the picture, so the guidance applies to the conditioning alone.

    Options: those of `TextToVideo`, and `residual` (default 0). With 1, the U-Net makes the difference between the
    latents of the clip and those of the picture. So it need not copy what does not move.
    """

    takes: ClassVar = ("image",)
    option_rules: ClassVar = {**TextToVideo.option_rules, "residual": whole(0, 1)}

    @classmethod
    def field_rules(cls, conditioning: Sequence[int], configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        rules, latent_channels = super().field_rules(conditioning, configs), configs["vae"]["latent_channels"]
        return {
            "unet": {**rules["unet"], "in_channels": one_of(2 * latent_channels)},
            "vae": {**rules["vae"], "in_channels": one_of(3)},
        }

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

    def _network_input(self, state: DenoisingState) -> Tensor:
        assert state.further_channels is not None
        return add_first_frame(super()._network_input(state), state.further_channels)

    def _whole(self, latents: Tensor, state: DenoisingState) -> Tensor:
        """Return the latents of the clip, from those that the U-Net makes."""
        assert state.further_channels is not None
        return latents + state.further_channels[:, :, None] if self.options.get("residual") else latents


class BlankImageToVideo(TextToVideo):
    """Clips without a picture, from networks of `ImageToVideo`: the latents of the picture are 0.

    So one U-Net can serve two signals, if it was trained both with pictures and with 0.
    """

    @classmethod
    def field_rules(cls, conditioning: Sequence[int], configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        rules, latent_channels = super().field_rules(conditioning, configs), configs["vae"]["latent_channels"]
        return {**rules, "unet": {**rules["unet"], "in_channels": one_of(2 * latent_channels)}}

    def _network_input(self, state: DenoisingState) -> Tensor:
        noisy = super()._network_input(state)
        return add_first_frame(noisy, torch.zeros_like(noisy[:, :, 0]))


def add_first_frame(noisy: Tensor, frame: Tensor) -> Tensor:
    """Append the latents of the first frame, (n, channels, height, width), to each frame of noisy latents.

    The noisy latents have the shape (n, channels, frames, height, width), and the result has twice the channels.
    """
    return torch.cat([noisy, frame[:, :, None].expand(noisy.shape)], dim=1)
