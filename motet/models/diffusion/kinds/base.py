"""The base class of the kinds of diffusion model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from inspect import signature
from math import prod
from typing import Any, ClassVar

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from motet.core.bundle import DecoderEntry
from motet.core.errors import RequestError
from motet.core.media import Media
from motet.core.telemetry.work import Unit, pixel_work
from motet.models.config_rules import Rule, one_of
from motet.models.diffusion.batch_invariant import make_batch_invariant
from motet.models.diffusion.model import Array, DenoisingState, rows_of

_MAX_PLAIN_POSITIONS = 1024
"""Maximum number of latent positions for plain attention on a CPU.

Up to here, plain attention is faster than the fused kernel, twice as fast with 64 positions.
"""


class LatentDiffusion(ABC):
    """A `DiffusionModel` in the latent space of an autoencoder, with classifier-free guidance."""

    networks: ClassVar[Mapping[str, tuple[str, ...]]]
    """The names of the networks, with the classes that each may have.

    A network is a parameter of the constructor, and a folder of the decoder."""
    media_type: ClassVar[str]
    """The type of the media."""
    conditioning: ClassVar[Rule]
    """The rule of the conditioning's shape."""
    option_rules: ClassVar[Mapping[str, Rule]]
    """The names of the options, with the rules of their values."""
    takes: ClassVar[tuple[str, ...]] = ()
    """The modalities of the inputs."""
    strength: float = 1.0
    """The share of the schedule that the steps of a job take, at its end."""

    def __init__(
        self, unet: Any, vae: Any, scheduler: Any, unconditional: Tensor, options: Mapping[str, float]
    ) -> None:
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.unconditional = unconditional
        self.options = options
        self._scheduler_is_random = "generator" in signature(scheduler.step).parameters
        if self.device.type == "cpu":
            make_batch_invariant(unet)
            if prod(self.shape[1:]) <= _MAX_PLAIN_POSITIONS:
                unet.set_attn_processor(AttnProcessor())

    @property
    def device(self) -> torch.device:
        """The device of the networks and the latents."""
        device: torch.device = self.unet.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    @classmethod
    @abstractmethod
    def field_rules(cls, entry: DecoderEntry, configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Return rules of the networks' fields, which depend on the manifest's entry and on the other networks.

        The keys of the result and of `configs` are names of networks.
        """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one job's latents, without a batch axis."""

    @abstractmethod
    def preview(self, pred_original_sample: Tensor) -> Array | None:
        """Implement `DiffusionModel.preview`."""

    @abstractmethod
    def finish(self, state: DenoisingState) -> Array:
        """Implement `DiffusionModel.finish`."""

    @abstractmethod
    def to_media(self, array: Array) -> Media:
        """Encode a result of `finish` as a file."""

    def work_units(self, array: Array) -> Mapping[Unit, float]:
        """Return the units of work of a result of `finish`."""
        return pixel_work(array.shape)

    @property
    def picture_size(self) -> tuple[int, int]:
        """The height and width of the inputs, in pixels."""
        height, width = self.shape[-2:]
        return height * self._vae_scale_factor, width * self._vae_scale_factor

    @torch.inference_mode()
    def prepare(
        self, conditioning: Tensor, seed: int, steps: int, guidance: float, inputs: Sequence[Array] = ()
    ) -> DenoisingState:
        """Implement `DiffusionModel.prepare`."""
        scheduler, first = self._new_scheduler(steps)
        generator = torch.Generator().manual_seed(seed % 2**63)
        latents = self._first_latents(scheduler, first, generator, inputs)
        embeddings = torch.stack([self.unconditional, conditioning][-rows_of(guidance) :]).to(self.device)
        return DenoisingState(latents.to(self.device), scheduler, embeddings, guidance, generator, first=first)

    @torch.inference_mode()
    def predict(self, states: Sequence[DenoisingState]) -> list[Tensor]:
        """Implement `DiffusionModel.predict`."""
        noisy = [self._network_input(state) for state in states]
        rows = [each.expand(state.rows, *each.shape[1:]) for each, state in zip(noisy, states, strict=True)]
        timesteps = torch.cat([state.timestep.expand(state.rows) for state in states]).to(self.device)
        output = self._predict(torch.cat(rows), timesteps, torch.cat([state.embeddings for state in states]))
        return list(torch.split(output, [state.rows for state in states]))

    @torch.inference_mode()
    def advance(self, state: DenoisingState, output: Tensor) -> None:
        """Implement `DiffusionModel.advance`."""
        if state.rows == 2:
            unconditional, conditional = output.chunk(2)
            output = unconditional + state.guidance * (conditional - unconditional)
        # Some schedulers add noise in every step. This noise must come from the seed, too.
        generator = {"generator": state.generator} if self._scheduler_is_random else {}
        result = self._scheduler_step(state, output, generator)
        state.latents = result.prev_sample
        state.pred_original_sample = getattr(result, "pred_original_sample", None)
        state.step += 1

    def step(self, *states: DenoisingState) -> None:
        """Take one denoising step of each state, all in one batch."""
        for state, output in zip(states, self.predict(states), strict=True):
            self.advance(state, output)

    def _new_scheduler(self, steps: int) -> tuple[Any, int]:
        """Return a new scheduler for one state, and the number of timesteps before the last `steps`.

        Raises `RequestError` if the scheduler cannot take this number of steps.
        """
        config, length = self.scheduler.config, self._schedule_length(steps)
        scheduler = type(self.scheduler).from_config(config)
        try:
            scheduler.set_timesteps(length)
            if config.get("steps_offset") and scheduler.timesteps.max() >= config.num_train_timesteps:
                # The steps need all timesteps, so an offset would begin after the last one.
                scheduler = type(self.scheduler).from_config(config, steps_offset=0)
                scheduler.set_timesteps(length)
        except ValueError as error:
            trained = int(config.num_train_timesteps * self.strength)
            raise RequestError(f"this decoder takes at most {trained} steps, not {steps}; ask for fewer") from error
        return scheduler, length - steps

    def _schedule_length(self, steps: int) -> int:
        """Return the length of the shortest schedule of which `strength` is `steps` steps."""
        length = int(steps / self.strength)
        return length if int(length * self.strength) >= steps else length + 1

    def _first_latents(self, scheduler: Any, first: int, generator: torch.Generator, inputs: Sequence[Array]) -> Tensor:
        """Return the latents before the first step, on any device."""
        noise: Tensor = torch.randn(1, *self.shape, generator=generator) * scheduler.init_noise_sigma
        return noise

    def _network_input(self, state: DenoisingState) -> Tensor:
        """Return the input (1, channels, ...) of the network for the next step of a state."""
        noisy: Tensor = state.scheduler.scale_model_input(state.latents, state.timestep)
        return noisy

    def _scheduler_step(self, state: DenoisingState, output: Tensor, generator: dict[str, Any]) -> Any:
        return state.scheduler.step(output, state.timestep, state.latents, **generator)

    def _predict(self, noisy: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        return self._call_unet(noisy, timesteps, encoder_hidden_states=embeddings.to(self.dtype))

    def _call_unet(self, noisy: Tensor, timesteps: Tensor, **conditions: Tensor | None) -> Tensor:
        # A network may compute in half precision. The latents always stay in single precision.
        output: Tensor = self.unet(noisy.to(self.dtype), timesteps, **conditions).sample
        return output.float()

    def _encode(self, picture: Array, generator: torch.Generator | None = None) -> Tensor:
        """Return the latents (1, channels, ...) of a picture, uint8 (height, width, 3).

        A variational autoencoder has a distribution of latents. Return a sample if there is a generator, else the mode.
        """
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float().div(255).mul(2).sub(1)
        encoded = self.vae.encode(pixels.to(self.device, self.vae.dtype))
        if isinstance(encoded, Tensor):
            latents = encoded
        else:
            distribution = encoded.latent_dist
            latents = distribution.mode() if generator is None else distribution.sample(generator)
        return latents.float() * self.vae.config.scaling_factor

    def _to_pixels(self, latents: Tensor) -> Array:
        """Decode latents (n, channels, height, width) to uint8 (n, height, width, 3)."""
        levels = self._decode_latents(latents).add(1).mul(127.5).round().clamp(0, 255)
        pixels: Array = check_finite(levels).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return pixels

    def _decode_latents(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return decoded.float()

    @property
    def _vae_scale_factor(self) -> int:
        return vae_scale_factor(self.vae.config)


def vae_scale_factor(config: Mapping[str, Any]) -> int:
    """Return the number of pixels per latent position, along one side, from an autoencoder's config."""
    return int(config["patch"] if "patch" in config else 2 ** (len(config["block_out_channels"]) - 1))


def channel_rules(vae: Mapping[str, Any], colours: int) -> tuple[dict[str, Rule], dict[str, Rule]]:
    """Return the rules of the channels of a U-Net, and of those of an autoencoder with a number of `colours`."""
    latent = one_of(vae["latent_channels"])
    output = "out_channels" if "out_channels" in vae else "in_channels"
    return {"in_channels": latent, "out_channels": latent}, {output: one_of(colours)}


def check_finite(values: Tensor) -> Tensor:
    """Return the values. Raises FloatingPointError if any value is not finite."""
    if not torch.isfinite(values).all():
        raise FloatingPointError("the result is not finite")
    return values
