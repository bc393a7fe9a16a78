"""The three kinds of diffusion model; see `Singer` for their contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from math import prod
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from motet.core.errors import RequestError
from motet.models.diffusion.batch_invariant import make_batch_invariant
from motet.models.diffusion.model import Array, DenoisingState, rows_of

# Up to so many latent positions, plain attention is faster on a CPU than the fused kernel, twice as fast at 64.
_SHORT = 1024


class LatentDiffusion:
    """What the kinds share: the loop's body, with classifier-free guidance."""

    def __init__(
        self, unet: Any, vae: Any, scheduler: Any, unconditional: Tensor, options: Mapping[str, float]
    ) -> None:
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.unconditional = unconditional
        self.options = options
        self._draws = "generator" in signature(scheduler.step).parameters
        if self.device.type == "cpu":
            make_batch_invariant(unet)
            if prod(self.shape[1:]) <= _SHORT:
                unet.set_attn_processor(AttnProcessor())

    @property
    def device(self) -> torch.device:
        """Where the networks are, and where latents are kept."""
        device: torch.device = self.unet.device
        return device

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item's latents."""
        raise NotImplementedError

    @torch.inference_mode()
    def prepare(self, conditioning: Tensor, seed: int, steps: int, guidance: float) -> DenoisingState:
        """See `Singer.prepare`."""
        scheduler = self._scheduled(steps)
        generator = torch.Generator().manual_seed(seed % 2**63)
        noise = torch.randn(1, *self.shape, generator=generator) * scheduler.init_noise_sigma
        told = [self.unconditional, conditioning][-rows_of(guidance) :]
        embeddings = torch.stack(told).to(self.device)
        return DenoisingState(noise.to(self.device), scheduler, embeddings, guidance, generator)

    @torch.inference_mode()
    def predict(self, songs: Sequence[DenoisingState]) -> list[Tensor]:
        """See `Singer.predict`."""
        shown = [song.scheduler.scale_model_input(song.latents, song.time) for song in songs]
        noisy = torch.cat([each.expand(song.rows, *each.shape[1:]) for each, song in zip(shown, songs, strict=True)])
        times = torch.cat([song.time.expand(song.rows) for song in songs]).to(self.device)
        predicted = self._predict(noisy, times, torch.cat([song.embeddings for song in songs]))
        return list(torch.split(predicted, [song.rows for song in songs]))

    @torch.inference_mode()
    def advance(self, song: DenoisingState, predicted: Tensor) -> None:
        """See `Singer.advance`."""
        if song.rows == 2:
            untold, told = predicted.chunk(2)
            predicted = untold + song.guidance * (told - untold)
        # Some schedulers add noise in every step; it too must come from the seed.
        seeded = {"generator": song.generator} if self._draws else {}
        made = self._stepped(song, predicted, song.time, seeded)
        song.latents, song.guess = made.prev_sample, getattr(made, "pred_original_sample", None)
        song.step += 1

    def _scheduled(self, steps: int) -> Any:
        """A scheduler of a song's own."""
        config = self.scheduler.config
        scheduler = type(self.scheduler).from_config(config)
        try:
            scheduler.set_timesteps(steps)
            if config.get("steps_offset") and scheduler.timesteps.max() >= config.num_train_timesteps:
                # Every timestep is taken, so there is no later one to begin with.
                scheduler = type(self.scheduler).from_config(config, steps_offset=0)
                scheduler.set_timesteps(steps)
        except ValueError as error:
            trained = config.num_train_timesteps
            raise RequestError(f"this decoder takes at most {trained} steps, not {steps}; ask for fewer") from error
        return scheduler

    def step(self, *songs: DenoisingState) -> None:
        """One denoising step of each song, all in one batch."""
        for song, predicted in zip(songs, self.predict(songs), strict=True):
            self.advance(song, predicted)

    def _predict(self, noisy: Tensor, times: Tensor, embeddings: Tensor) -> Tensor:
        return self._asked(noisy, times, encoder_hidden_states=embeddings.to(self.unet.dtype))

    def _asked(self, noisy: Tensor, times: Tensor, **told: Tensor | None) -> Tensor:
        # A network may compute in half precision; the sums over the steps are always kept in single.
        predicted: Tensor = self.unet(noisy.to(self.unet.dtype), times, **told).sample
        return predicted.float()

    def _stepped(self, song: DenoisingState, predicted: Tensor, time: Tensor, seeded: dict[str, Any]) -> Any:
        return song.scheduler.step(predicted, time, song.latents, **seeded)

    def _pixels(self, latents: Tensor) -> Array:
        """(n, channels, height, width) -> uint8 (n, height, width, 3)."""
        levels = self._decoded(latents).add(1).mul(127.5).round().clamp(0, 255)
        pixels: Array = check_finite(levels).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return pixels

    def _decoded(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return decoded.float()

    @property
    def _shrinks(self) -> int:
        """How many pixels of a side make one of a latent's."""
        config = self.vae.config
        return int(config["patch"] if "patch" in config else 2 ** (len(config["block_out_channels"]) - 1))


def check_finite(values: Tensor) -> Tensor:
    if not torch.isfinite(values).all():
        raise FloatingPointError("the result is not finite")
    return values
