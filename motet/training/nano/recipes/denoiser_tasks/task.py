"""The interface of a denoising task, and the network settings that tasks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from motet.training.nano.world import caption_encoder, pictures

# Returns latents for captions, and for first frames if the denoiser takes them.
Sampler = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class DenoiserBatch:
    """Latents (n, *shape) of random things of the training split, and their captions.

    `first_frames` are the latents (n, channels, height, width) of the pictures that clips begin with, 0 for a clip
    without a picture. They are None for other modalities.
    """

    latents: Tensor
    captions: list[str]
    first_frames: Tensor | None = None


# Settings of the U-Nets on picture latents.
PICTURE_UNET: dict[str, Any] = {
    "in_channels": 48,
    "out_channels": 48,
    "layers_per_block": 1,
    "cross_attention_dim": caption_encoder.WIDTH,
    "norm_num_groups": 16,
}


class DenoiserTask(Protocol):
    """The network and the training data of one modality's denoiser."""

    modality: ClassVar[str]
    shape: ClassVar[tuple[int, ...]]
    """The shape of one sample's latents."""
    group_size: ClassVar[int]
    """The number of consecutive samples of a batch that get the same noise and timestep."""

    def denoiser(self) -> nn.Module:
        """Return an untrained denoiser."""
        ...

    def batch(self, rng: np.random.Generator) -> DenoiserBatch:
        """Return a batch of random things of the training split."""
        ...

    def predict(
        self,
        denoiser: nn.Module,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Tensor,
        first_frames: Tensor | None = None,
    ) -> Tensor:
        """Return the denoiser's output. `first_frames` are those of `DenoiserBatch`."""
        ...

    def sample_sheet(self, sampler: Sampler) -> pictures.Picture:
        """Return a sheet of samples, most of them of held-out things."""
        ...


def for_cpu(denoiser: UNet2DConditionModel | UNet3DConditionModel) -> nn.Module:
    """Return the denoiser with plain attention and without dropout.

    On a CPU and for short sequences, plain attention takes half the time of fused attention.
    """
    denoiser.set_attn_processor(AttnProcessor())
    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return denoiser
