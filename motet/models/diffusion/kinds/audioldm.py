"""Sounds."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from motet.models.diffusion.kinds.base import LatentDiffusion, check_finite
from motet.models.diffusion.model import Array, DenoisingState


class AudioLDM(LatentDiffusion):
    """Sounds: a 2D U-Net over log-mel latents, whose conditioning is one vector given as class labels; an
    autoencoder of spectrograms; and a vocoder.

    Options: `seconds`; without it, what the U-Net was trained for.
    """

    media: ClassVar[str] = "sound"

    def __init__(self, vocoder: Any, **components: Any) -> None:
        self.vocoder = vocoder
        super().__init__(**components)

    @property
    def rate(self) -> int:
        """Samples a second."""
        return int(self.vocoder.config.sampling_rate)

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, frames, bands), as latents."""
        size = self.unet.config.sample_size
        height = size if isinstance(size, int) else size[0]
        if seconds := self.options.get("seconds"):
            height = -(-int(seconds * self.rate / self._hop) // self._shrinks)
        return (self.unet.config.in_channels, int(height), self.vocoder.config.model_in_dim // self._shrinks)

    @property
    def _hop(self) -> int:
        config = self.vocoder.config
        return int(config.hop if hasattr(config, "hop") else prod(config.upsample_rates))

    def _predict(self, noisy: Tensor, times: Tensor, embeddings: Tensor) -> Tensor:
        # CLAP's vectors have unit length; a projection's length says nothing, so it is taken away.
        vectors = functional.normalize(embeddings.flatten(1), dim=-1)
        return self._asked(noisy, times, encoder_hidden_states=None, class_labels=vectors.to(self.unet.dtype))

    def preview(self, guess: Tensor) -> Array | None:
        """None: a sound has no picture."""
        return None

    @torch.inference_mode()
    def finish(self, song: DenoisingState) -> Array:
        """float32 (samples,)."""
        mel = self._decoded(song.latents)[:, 0]
        wave = check_finite(self.vocoder(mel.to(self.vocoder.dtype))).float().flatten()
        # Latents come in whole patches, and a vocoder may add a few samples: the end is cut to what was meant.
        seconds = self.options.get("seconds")
        wave = wave[: int(seconds * self.rate) if seconds else mel.shape[1] * self._hop]
        # Guidance overshoots in loudness too; made quieter as a whole, nothing is clipped.
        samples: Array = (wave / wave.abs().max().clamp(min=1)).cpu().numpy()
        return samples
