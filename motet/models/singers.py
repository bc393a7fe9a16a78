"""The three kinds of diffusion model, each as one contract: prepare, step, finish.

A *singer* holds networks and no requests; everything about one piece of media being made is in its `Song`.
So songs can be interleaved, stopped between steps, and one day stacked into one batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from math import prod
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Array = NDArray[Any]

# Up to so many latent positions, plain attention is faster on a CPU than the fused kernel, twice as fast at 64.
_SHORT = 1024


@dataclass(slots=True)
class Song:
    """One piece of media between its noise and its end.

    `latents` is (1, channels, ...); `scheduler` is this song's own, because schedulers remember earlier steps;
    `embeddings` is (2, ...), without and with the prompt, or (1, ...) where guidance is 1; `guess` is what the
    last step took the end to be, if the scheduler says.
    """

    latents: Tensor
    scheduler: Any
    embeddings: Tensor
    guidance: float
    generator: torch.Generator
    step: int = 0
    guess: Tensor | None = None

    @property
    def total(self) -> int:
        """How many steps there are; some schedulers take one more than were asked for."""
        return len(self.scheduler.timesteps)


class Singer(Protocol):
    """A diffusion model of one kind. All methods compute for long and belong on a thread of their own."""

    def prepare(self, conditioning: Tensor, seed: int, steps: int, guidance: float) -> Song:
        """Noise, which `seed` alone decides, and all that the steps need. `conditioning` has no batch axis."""
        ...

    def step(self, song: Song) -> None:
        """One denoising step, of `song.total`."""
        ...

    def preview(self, song: Song) -> Array | None:
        """A picture of what is coming, uint8 (height, width, 3), or None where there is none."""
        ...

    def finish(self, song: Song) -> Array:
        """The media: uint8 (height, width, 3) or (frames, height, width, 3), or float32 (samples,)."""
        ...


class _Diffusion:
    """What the kinds share: the loop's body, with classifier-free guidance."""

    def __init__(
        self, unet: Any, vae: Any, scheduler: Any, unconditional: Tensor, options: Mapping[str, float]
    ) -> None:
        self.unet, self.vae, self.scheduler = unet, vae, scheduler
        self.unconditional = unconditional
        self.options = options
        self._draws = "generator" in signature(scheduler.step).parameters
        if prod(self.shape[1:]) <= _SHORT:
            unet.set_attn_processor(AttnProcessor())

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item's latents."""
        raise NotImplementedError

    @torch.inference_mode()
    def prepare(self, conditioning: Tensor, seed: int, steps: int, guidance: float) -> Song:
        """See `Singer.prepare`."""
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(steps)
        generator = torch.Generator().manual_seed(seed % 2**63)
        noise = torch.randn(1, *self.shape, generator=generator) * scheduler.init_noise_sigma
        told = [conditioning] if guidance == 1 else [self.unconditional, conditioning]
        return Song(noise, scheduler, torch.stack(told), guidance, generator)

    @torch.inference_mode()
    def step(self, song: Song) -> None:
        """See `Singer.step`."""
        time = song.scheduler.timesteps[song.step]
        noisy = song.scheduler.scale_model_input(song.latents, time)
        count = len(song.embeddings)
        predicted = self._predict(noisy.expand(count, *noisy.shape[1:]), time.expand(count), song.embeddings)
        if count == 2:
            untold, told = predicted.chunk(2)
            predicted = untold + song.guidance * (told - untold)
        # Some schedulers add noise in every step; it too must come from the seed.
        seeded = {"generator": song.generator} if self._draws else {}
        made = self._stepped(song, predicted, time, seeded)
        song.latents, song.guess = made.prev_sample, getattr(made, "pred_original_sample", None)
        song.step += 1

    def _predict(self, noisy: Tensor, times: Tensor, embeddings: Tensor) -> Tensor:
        predicted: Tensor = self.unet(noisy, times, encoder_hidden_states=embeddings).sample
        return predicted

    def _stepped(self, song: Song, predicted: Tensor, time: Tensor, seeded: dict[str, Any]) -> Any:
        return song.scheduler.step(predicted, time, song.latents, **seeded)

    def _pixels(self, latents: Tensor) -> Array:
        """(n, channels, height, width) -> uint8 (n, height, width, 3)."""
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        levels = pixels.add(1).mul(127.5).round().clamp(0, 255)
        return _finite(levels).byte().permute(0, 2, 3, 1).contiguous().numpy()

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
    def preview(self, song: Song) -> Array | None:
        """What the last step took the picture to be."""
        return None if song.guess is None else self._pixels(song.guess)[0]

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
    def preview(self, song: Song) -> Array | None:
        """The middle frame of what the last step took the clip to be."""
        return None if song.guess is None else self._pixels(song.guess[:, :, song.guess.shape[2] // 2])[0]

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
        predicted: Tensor = self.unet(noisy, times, encoder_hidden_states=None, class_labels=vectors).sample
        return predicted

    def preview(self, song: Song) -> Array | None:
        """None: a sound has no picture."""
        return None

    @torch.inference_mode()
    def finish(self, song: Song) -> Array:
        """float32 (samples,)."""
        mel = self.vae.decode(song.latents / self.vae.config.scaling_factor).sample[:, 0]
        wave = _finite(self.vocoder(mel)).flatten()
        # Latents come in whole patches, and a vocoder may add a few samples: the end is cut to what was meant.
        seconds = self.options.get("seconds")
        wave = wave[: int(seconds * self.rate) if seconds else mel.shape[1] * self._hop]
        # Guidance overshoots in loudness too; made quieter as a whole, nothing is clipped.
        samples: Array = (wave / wave.abs().max().clamp(min=1)).float().numpy()
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
    frames = torch.linspace(-height, height, noisy.shape[2]).reshape(-1, *[1] * (noisy.ndim - 3))
    half = noisy.shape[1] // 2
    return torch.cat([noisy[:, :half], noisy[:, half:] + frames], dim=1)


def _frames(clip: Tensor) -> Tensor:
    """(1, channels, frames, height, width) -> (frames, channels, height, width)."""
    return clip[0].transpose(0, 1)


def _clip(frames: Tensor) -> Tensor:
    return frames.transpose(0, 1)[None]
