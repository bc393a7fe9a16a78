"""One piece of media between its noise and its end, and the contract of those who sing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


@dataclass(slots=True)
class DenoisingState:
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

    @property
    def time(self) -> Tensor:
        """The timestep of the next step, without axes."""
        time: Tensor = self.scheduler.timesteps[self.step]
        return time

    @property
    def rows(self) -> int:
        """How many rows of a batch it takes."""
        return rows_of(self.guidance)


def rows_of(guidance: float) -> int:
    """How many rows of a batch a song takes: one with the prompt, and one without where there is guidance."""
    return 1 if guidance == 1 else 2


class DiffusionModel(Protocol):
    """A diffusion model of one kind, as a contract of steps. It holds networks and no requests.

    So songs can be interleaved, stopped between steps, and stacked into one batch, each at a step of its own: songs of
    equally many rows may be given to `predict` together. All methods compute for long and belong on a thread of their
    own; `preview` and `finish` may run on another one than `predict`.
    """

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def prepare(self, conditioning: Tensor, seed: int, steps: int, guidance: float) -> DenoisingState:
        """Noise, which `seed` alone decides, and all that the steps need. `conditioning` has no batch axis."""
        ...

    def predict(self, songs: Sequence[DenoisingState]) -> list[Tensor]:
        """What the network says of each song's next step, in one call for all. Changes no song."""
        ...

    def advance(self, song: DenoisingState, predicted: Tensor) -> None:
        """Takes the song's next step, of `song.total`, with what `predict` said of it."""
        ...

    def preview(self, guess: Tensor) -> Array | None:
        """A picture of a song's `guess`, uint8 (height, width, 3), or None where there is none."""
        ...

    def finish(self, song: DenoisingState) -> Array:
        """The media: uint8 (height, width, 3) or (frames, height, width, 3), or float32 (samples,)."""
        ...
