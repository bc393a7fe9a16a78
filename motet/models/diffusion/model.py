"""The state of one denoising process, and the protocol of the models that advance it."""

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
    """The state of one job between two steps.

    `latents` has shape (1, channels, ...). `scheduler` belongs to this state alone, because schedulers remember
    earlier steps. `embeddings` has shape (2, ...), unconditional and conditional, or (1, ...), conditional, if
    `guidance` is 1. `pred_original_sample` is the last step's estimate of the final latents, or None if the scheduler
    has no estimate. `first` is the number of timesteps that the state skips. `further_channels`, of shape
    (1, channels, ...), are channels of the network's input beside the latents, or None.
    """

    latents: Tensor
    scheduler: Any
    embeddings: Tensor
    guidance: float
    generator: torch.Generator
    step: int = 0
    pred_original_sample: Tensor | None = None
    first: int = 0
    further_channels: Tensor | None = None

    @property
    def total(self) -> int:
        """The number of steps. Some schedulers take one step more than requested."""
        return len(self.scheduler.timesteps) - self.first

    @property
    def timestep(self) -> Tensor:
        """The timestep of the next step, a tensor without axes."""
        timestep: Tensor = self.scheduler.timesteps[self.first + self.step]
        return timestep

    @property
    def rows(self) -> int:
        """The number of batch rows that a step of this state needs."""
        return rows_of(self.guidance)


def rows_of(guidance: float) -> int:
    """Return the number of batch rows that a step needs: 2 with guidance, 1 without it (`guidance` is 1)."""
    return 1 if guidance == 1 else 2


class DiffusionModel(Protocol):
    """A diffusion model that takes one step at a time. It holds networks and no requests.

    Jobs can be interleaved, stopped between steps, and batched at different steps: `predict` takes any states with an
    equal number of rows. All methods compute for a long time and must not run on the event loop. `preview` and
    `finish` may run on another thread than `predict`.
    """

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the network computes. Latents and the results of `predict` are float32."""
        ...

    @property
    def takes(self) -> Sequence[str]:
        """The modalities of the inputs. All inputs are pictures so far."""
        ...

    @property
    def picture_size(self) -> tuple[int, int]:
        """The height and width of the inputs, in pixels."""
        ...

    def prepare(
        self, conditioning: Tensor, seed: int, steps: int, guidance: float, inputs: Sequence[Array] = ()
    ) -> DenoisingState:
        """Return the state before the first step. `seed` alone decides the noise. `conditioning` has no batch axis.

        `inputs` are pictures, uint8 of shape (*picture_size, 3).
        """
        ...

    def predict(self, states: Sequence[DenoisingState]) -> list[Tensor]:
        """Return the network's output for the next step of each state, from one forward. Changes no state."""
        ...

    def advance(self, state: DenoisingState, output: Tensor) -> None:
        """Take the state's next step with its output of `predict`."""
        ...

    def preview(self, pred_original_sample: Tensor) -> Array | None:
        """Return a picture of the estimated final latents, uint8 (height, width, 3), or None if the kind has none."""
        ...

    def finish(self, state: DenoisingState) -> Array:
        """Return the media: uint8 (height, width, 3) or (frames, height, width, 3), or float32 (samples,)."""
        ...
