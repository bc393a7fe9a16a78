"""The three kinds of diffusion model; see `Singer` for their contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn import functional

from motet.core.errors import RequestError
from motet.models.row_by_row import compute_row_by_row
from motet.models.song import Array, Song, rows_of

# Up to so many latent positions, plain attention is faster on a CPU than the fused kernel, twice as fast at 64.
_SHORT = 1024


class _Diffusion:
    """What the kinds share: the loop's body, with classifier-free guidance."""

    def __init__(
        self, unet: Any, vae: Any, scheduler: Any, unconditional: Tensor, options: Mapping[str, float]
    ) -> None:
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.unconditional = unconditional
        self.options = options
        self._draws = "generator" in signature(scheduler.step).parameters
        if self.device.type == "cpu":
            compute_row_by_row(unet)
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
    def prepare(self, conditioning: Tensor, seed: int, steps: int, guidance: float) -> Song:
        """See `Singer.prepare`."""
        scheduler = self._scheduled(steps)
        generator = torch.Generator().manual_seed(seed % 2**63)
        noise = torch.randn(1, *self.shape, generator=generator) * scheduler.init_noise_sigma
        told = [self.unconditional, conditioning][-rows_of(guidance) :]
        embeddings = torch.stack(told).to(self.device)
        return Song(noise.to(self.device), scheduler, embeddings, guidance, generator)

    @torch.inference_mode()
    def predict(self, songs: Sequence[Song]) -> list[Tensor]:
        """See `Singer.predict`."""
        shown = [song.scheduler.scale_model_input(song.latents, song.time) for song in songs]
        noisy = torch.cat([each.expand(song.rows, *each.shape[1:]) for each, song in zip(shown, songs, strict=True)])
        times = torch.cat([song.time.expand(song.rows) for song in songs]).to(self.device)
        predicted = self._predict(noisy, times, torch.cat([song.embeddings for song in songs]))
        return list(torch.split(predicted, [song.rows for song in songs]))

    @torch.inference_mode()
    def advance(self, song: Song, predicted: Tensor) -> None:
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

    def step(self, *songs: Song) -> None:
        """One denoising step of each song, all in one batch."""
        for song, predicted in zip(songs, self.predict(songs), strict=True):
            self.advance(song, predicted)

    def _predict(self, noisy: Tensor, times: Tensor, embeddings: Tensor) -> Tensor:
        return self._asked(noisy, times, encoder_hidden_states=embeddings.to(self.unet.dtype))

    def _asked(self, noisy: Tensor, times: Tensor, **told: Tensor | None) -> Tensor:
        # A network may compute in half precision; the sums over the steps are always kept in single.
        predicted: Tensor = self.unet(noisy.to(self.unet.dtype), times, **told).sample
        return predicted.float()

    def _stepped(self, song: Song, predicted: Tensor, time: Tensor, seeded: dict[str, Any]) -> Any:
        return song.scheduler.step(predicted, time, song.latents, **seeded)

    def _pixels(self, latents: Tensor) -> Array:
        """(n, channels, height, width) -> uint8 (n, height, width, 3)."""
        levels = self._decoded(latents).add(1).mul(127.5).round().clamp(0, 255)
        pixels: Array = _finite(levels).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return pixels

    def _decoded(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return decoded.float()

    @property
    def _shrinks(self) -> int:
        """How many pixels of a side make one of a latent's."""
        config = self.vae.config
        return int(config["patch"] if "patch" in config else 2 ** (len(config["block_out_channels"]) - 1))


class StableDiffusion(_Diffusion):
    """Pictures: a 2D U-Net that reads the conditioning by cross-attention, and an autoencoder.

    Options: `height` and `width` in pixels; without them, what the U-Net was trained for.
    """

    media: ClassVar[str] = "picture"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        size = self.unet.config.sample_size
        trained = (size, size) if isinstance(size, int) else tuple(size)
        sides = [self.options.get(name, 0) // self._shrinks for name in ("height", "width")]
        return (self.unet.config.in_channels, *(int(side or own) for side, own in zip(sides, trained, strict=True)))

    @torch.inference_mode()
    def preview(self, guess: Tensor) -> Array | None:
        """The picture."""
        picture: Array = self._pixels(guess)[0]
        return picture

    @torch.inference_mode()
    def finish(self, song: Song) -> Array:
        """uint8 (height, width, 3)."""
        picture: Array = self._pixels(song.latents)[0]
        return picture


class TextToVideo(StableDiffusion):
    """Clips: a 3D U-Net, and an autoencoder of single frames.

    Options: also `frames`, 16 without it, and `frame_ramp`, 0 without it: see `ramped`.
    """

    media: ClassVar[str] = "clip"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, frames, height, width)."""
        channels, height, width = super().shape
        return (channels, int(self.options.get("frames", 16)), height, width)

    def _predict(self, noisy: Tensor, times: Tensor, embeddings: Tensor) -> Tensor:
        return super()._predict(ramped(noisy, self.options.get("frame_ramp", 0.0)), times, embeddings)

    def _stepped(self, song: Song, predicted: Tensor, time: Tensor, seeded: dict[str, Any]) -> Any:
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
    def finish(self, song: Song) -> Array:
        """uint8 (frames, height, width, 3)."""
        # One frame at a time: at full size, all of them at once would not fit.
        frames: Array = np.concatenate([self._pixels(frame[None]) for frame in _frames(song.latents)])
        return frames


class AudioLDM(_Diffusion):
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
    def finish(self, song: Song) -> Array:
        """float32 (samples,)."""
        mel = self._decoded(song.latents)[:, 0]
        wave = _finite(self.vocoder(mel.to(self.vocoder.dtype))).float().flatten()
        # Latents come in whole patches, and a vocoder may add a few samples: the end is cut to what was meant.
        seconds = self.options.get("seconds")
        wave = wave[: int(seconds * self.rate) if seconds else mel.shape[1] * self._hop]
        # Guidance overshoots in loudness too; made quieter as a whole, nothing is clipped.
        samples: Array = (wave / wave.abs().max().clamp(min=1)).cpu().numpy()
        return samples


def _finite(values: Tensor) -> Tensor:
    if not torch.isfinite(values).all():
        raise FloatingPointError("the result is not finite")
    return values


def ramped(noisy: Tensor, height: float) -> Tensor:
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
