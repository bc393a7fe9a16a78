"""The kind `audioldm`, which makes sounds."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from motet.core.bundle import DecoderEntry
from motet.core.media import Media
from motet.core.telemetry.work import Unit
from motet.media import encode
from motet.models.config_rules import ANY, Rule, one_of
from motet.models.diffusion.kinds.base import LatentDiffusion, channel_rules, check_finite, vae_scale_factor
from motet.models.diffusion.model import Array, DenoisingState


class AudioLDM(LatentDiffusion):
    """Sounds, from a 2D U-Net over log-mel latents, an autoencoder of spectrograms, and a vocoder.

    The conditioning is one vector, which the U-Net gets as class labels. Options: `seconds`. Its default is the length
    that the U-Net was trained for.
    """

    networks: ClassVar = {
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL", "PatchAutoencoder"),
        "vocoder": ("SpeechT5HifiGan", "GriffinLimVocoder"),
    }
    media_type: ClassVar = "audio/wav"
    conditioning: ClassVar = ANY
    option_rules: ClassVar = {"seconds": Rule("from 0.01 to 600", lambda value: 0.01 <= value <= 600)}

    def __init__(self, vocoder: Any, **components: Any) -> None:
        self.vocoder = vocoder
        super().__init__(**components)

    @classmethod
    def field_rules(cls, entry: DecoderEntry, configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        vae, unet, scale = configs["vae"], configs["unet"], vae_scale_factor(configs["vae"])
        unet_rules, vae_rules = channel_rules(vae, 1)
        unet_rules["class_embed_type"] = one_of("simple_projection")
        unet_rules["projection_class_embeddings_input_dim"] = one_of(prod(entry.conditioning))
        if unet["mid_block_type"] or any("CrossAttn" in block for block in unet["down_block_types"]):
            # The cross-attention of AudioLDM attends to the block's own states.
            unet_rules["cross_attention_dim"] = one_of(unet["block_out_channels"])
        bands = Rule(f"a multiple of {scale}", lambda value: value % scale == 0)
        return {"unet": unet_rules, "vae": vae_rules, "vocoder": {"model_in_dim": bands}}

    @property
    def rate(self) -> int:
        """The sample rate, in samples per second."""
        return int(self.vocoder.config.sampling_rate)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (channels, frames, bands) of the latents."""
        size = self.unet.config.sample_size
        height = size if isinstance(size, int) else size[0]
        if seconds := self.options.get("seconds"):
            height = -(-int(seconds * self.rate / self._hop) // self._vae_scale_factor)
        bands = self.vocoder.config.model_in_dim // self._vae_scale_factor
        return (self.unet.config.in_channels, int(height), bands)

    @property
    def _hop(self) -> int:
        """The number of samples per spectrogram frame."""
        config = self.vocoder.config
        return int(config.hop if hasattr(config, "hop") else prod(config.upsample_rates))

    def _predict(self, noisy: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        # CLAP's vectors have unit length, so the length of a projected vector has no meaning.
        vectors = functional.normalize(embeddings.flatten(1), dim=-1)
        return self._call_unet(noisy, timesteps, encoder_hidden_states=None, class_labels=vectors.to(self.dtype))

    def preview(self, pred_original_sample: Tensor) -> Array | None:
        """Return None: a sound has no picture."""
        return None

    def work_units(self, array: Array) -> Mapping[Unit, float]:
        """Implement `LatentDiffusion.work_units`."""
        return {Unit.SECONDS: len(array) / self.rate}

    @torch.inference_mode()
    def finish(self, state: DenoisingState) -> Array:
        """Return the sound, float32 (samples,)."""
        mel = self._decode_latents(state.latents)[:, 0]
        wave = check_finite(self.vocoder(mel.to(self.vocoder.dtype))).float().flatten()
        # Latents have whole patches, and a vocoder may add a few samples. Cut the sound to its exact length.
        seconds = self.options.get("seconds")
        wave = wave[: int(seconds * self.rate) if seconds else mel.shape[1] * self._hop]
        # Guidance can make the sound too loud. Scale all samples to avoid clipping.
        samples: Array = (wave / wave.abs().max().clamp(min=1)).cpu().numpy()
        return samples

    def to_media(self, array: Array) -> Media:
        """Encode the sound as a file."""
        return encode.encode_sound(array, self.rate)
