"""The kind `image-to-image`, which changes pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from motet.core.bundle import DecoderEntry
from motet.models.config_rules import Rule, one_of
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.model import Array


class ImageToImage(StableDiffusion):
    """Pictures, from the networks of `StableDiffusion` and another picture, which the steps change.

    The option `strength` (default 0.8) is the share of the schedule that the steps take. The latents of the picture get
    the noise of the first of these timesteps. With 1, little of the picture is left. The other options are those of
    `StableDiffusion`. The result is that of diffusers' `StableDiffusionImg2ImgPipeline` with the same strength, the
    same seed and `steps / strength` inference steps, rounded up.
    """

    takes: ClassVar = ("image",)
    option_rules: ClassVar[Mapping[str, Rule]] = {
        **StableDiffusion.option_rules,
        "strength": Rule("from 0.01 to 1", lambda value: 0.01 <= value <= 1),
    }

    def __init__(self, **components: Any) -> None:
        super().__init__(**components)
        self.strength = self.options.get("strength", 0.8)

    @classmethod
    def field_rules(cls, entry: DecoderEntry, configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        rules = super().field_rules(entry, configs)
        return {**rules, "vae": {**rules["vae"], "in_channels": one_of(3)}}

    def _first_latents(self, scheduler: Any, first: int, generator: torch.Generator, inputs: Sequence[Array]) -> Tensor:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        latents = self._encode(inputs[0], generator)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        noisy: Tensor = scheduler.add_noise(latents, noise, scheduler.timesteps[first : first + 1])
        return noisy
