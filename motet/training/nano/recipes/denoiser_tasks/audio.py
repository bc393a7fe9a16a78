"""The denoising task of sounds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from motet.training.nano.recipes.autoencoder import to_pictures
from motet.training.nano.recipes.denoiser_tasks.task import DenoiserBatch, Sampler
from motet.training.nano.recipes.vocoder import VocoderData
from motet.training.nano.world import caption_encoder, pictures
from motet.training.nano.world.world import REGISTERS, Thing, things_of_split, with_article


class AudioTask:
    """Sounds: single notes, as log-mel spectrograms."""

    modality: ClassVar[str] = "audio"
    shape: ClassVar[tuple[int, ...]] = (24, 24, 8)
    group_size: ClassVar[int] = 1

    def __init__(self, build: Path) -> None:
        data = VocoderData(build)
        self._autoencoder = data.autoencoder
        # Spectrograms by caption, of the notes in a register and of the notes between registers.
        self._in_registers: dict[str, list[Tensor]] = {}
        self._between_registers: dict[str, list[Tensor]] = {}
        registers = {note: register for register, notes in REGISTERS.items() for note in notes}
        for (instrument, note), mel in data.mels.items():
            if note in registers:
                caption = Thing("audio", instrument, registers[note]).caption
                self._in_registers.setdefault(caption, []).append(mel)
            else:
                for caption in captions_between_registers(instrument, note):
                    self._between_registers.setdefault(caption, []).append(mel)

    def denoiser(self) -> nn.Module:
        """Return a 2D U-Net in the architecture of AudioLDM: the caption's vector joins the time embedding."""
        return UNet2DConditionModel(
            sample_size=(24, 8),
            in_channels=24,
            out_channels=24,
            block_out_channels=(64, 96, 128),
            down_block_types=("DownBlock2D",) * 3,
            mid_block_type=None,
            up_block_types=("UpBlock2D",) * 3,
            layers_per_block=1,
            norm_num_groups=16,
            class_embed_type="simple_projection",
            class_embeddings_concat=True,
            projection_class_embeddings_input_dim=caption_encoder.WIDTH,
        )

    @torch.no_grad()
    def batch(self, rng: np.random.Generator) -> DenoiserBatch:
        """Return the latents and captions of sixteen sounds with slightly different volumes."""
        groups = [self._in_registers if rng.random() < 0.6 else self._between_registers for _ in range(16)]
        captions = [str(rng.choice(list(group))) for group in groups]
        choices = [group[caption] for group, caption in zip(groups, captions, strict=True)]
        mels = torch.stack([choice[rng.integers(len(choice))] for choice in choices])
        gains = torch.from_numpy(rng.uniform(-0.2, 0.0, (16, 1, 1))).float()
        return DenoiserBatch(self._autoencoder.encode((mels + gains).clamp(min=mels.min())[:, None]), captions)

    def predict(
        self,
        denoiser: nn.Module,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Tensor,
        first_frames: Tensor | None = None,
    ) -> Tensor:
        """Return the output of the U-Net. As in AudioLDM, the conditioning vector replaces the class labels."""
        vector = functional.normalize(conditioning[:, 0], dim=-1)
        output: Tensor = denoiser(noisy, timesteps, encoder_hidden_states=None, class_labels=vector).sample
        return output

    def sample_sheet(self, sampler: Sampler) -> pictures.Picture:
        """Return a sheet of spectrograms: held-out sounds above sounds of the same instruments in other registers."""
        things = things_of_split(self.modality, True)
        trained = things_of_split(self.modality, False)
        others = [next(other for other in trained if other.subject == thing.subject) for thing in things]
        latents = sampler([thing.caption for thing in things + others])
        mels = self._autoencoder.decode(latents).sample.add(4).div(6).repeat(1, 3, 1, 1).transpose(2, 3).flip(2)
        return to_pictures(torch.cat([torch.cat(list(row), dim=2) for row in mels.split(len(things))], dim=1))


def captions_between_registers(instrument: str, note: int) -> list[str]:
    """Return two captions of a note between two registers. No thing of the world has them.

    The first names the instrument. The second repeats the instrument and both registers; the nearer register has up to
    three of four words. So the denoiser trains on each instrument at every pitch, but on no held-out caption.
    """
    names = list(REGISTERS)
    below = next(name for name in reversed(names) if max(REGISTERS[name]) < note)
    above = names[names.index(below) + 1]
    start, end = max(REGISTERS[below]), min(REGISTERS[above])
    low = min(3, max(1, round(4 * (end - note) / (end - start))))
    both = " ".join([below] * low + [above] * (4 - low) + [instrument] * 4)
    return [f"a note on {with_article(instrument)}", both]
