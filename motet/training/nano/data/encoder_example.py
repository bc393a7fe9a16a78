"""An example for the training of an encoder tower, and the source of examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from motet.training.nano.world.world import Thing


@dataclass(frozen=True, slots=True)
class EncoderExample:
    """The input of a tower and its labels: a value per attribute, "" for an attribute without a label.

    `pitch` is in octaves from middle C, or NaN if it has no label. `thing` is set if the input shows a thing and both
    of its attributes matter: then an answer that names a held-out thing does not count as wrong.
    """

    pixels: Tensor
    labels: Mapping[str, str]
    pitch: float = math.nan
    thing: Thing | None = None


class ExampleSource(Protocol):
    """A source of encoder examples."""

    def draw(self, rng: np.random.Generator) -> EncoderExample:
        """Return a random example. The result depends on `rng` only."""
        ...
