"""What workers were measured to take: the numbers that a simulation draws from."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from motet.core.errors import SettingsError

Samples = Sequence[float]


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of one tick (a token, a denoising step) by how many calls share it: a few samples for each size."""

    samples: Mapping[int, Samples]

    def __post_init__(self) -> None:
        if not self.samples or not all(self.samples.values()):
            raise SettingsError("a cost curve needs samples at one size at least")

    def seconds(self, count: int, quantile: float) -> float:
        """A tick shared by `count` calls, at a quantile (0 to 1) of what was measured.

        Between two sizes it is interpolated; past the last, the work of the last size is done several times over.
        """
        sizes = sorted(self.samples)
        place = bisect_left(sizes, count)
        if place == len(sizes):
            return self._at(sizes[-1], quantile) * count / sizes[-1]
        above = sizes[place]
        if place == 0 or above == count:
            return self._at(above, quantile)
        below = sizes[place - 1]
        share = (count - below) / (above - below)
        return self._at(below, quantile) * (1 - share) + self._at(above, quantile) * share

    def _at(self, size: int, quantile: float) -> float:
        return drawn(self.samples[size], quantile)


def drawn(samples: Samples, quantile: float) -> float:
    """The sample at a quantile from 0 to 1."""
    return sorted(samples)[min(len(samples) - 1, int(quantile * len(samples)))]


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model's workers take: `prompt` seconds until the first token, `token` and `step` by how many share them,
    `finish` seconds from a decoder's last step to its media.
    """

    prompt: Samples
    token: Curve
    step: Mapping[str, Curve]
    finish: Mapping[str, Samples]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""

        def told(curve: Curve) -> dict[str, list[float]]:
            return {str(size): list(samples) for size, samples in curve.samples.items()}

        return {
            "prompt": list(self.prompt),
            "token": told(self.token),
            "step": {modality: told(curve) for modality, curve in self.step.items()},
            "finish": {modality: list(samples) for modality, samples in self.finish.items()},
        }

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Self:
        """As `as_dict` told it. Raises `SettingsError` for anything else."""

        def heard(curve: Mapping[str, Samples]) -> Curve:
            return Curve({int(size): samples for size, samples in curve.items()})

        try:
            steps = {modality: heard(curve) for modality, curve in told["step"].items()}
            return cls(told["prompt"], heard(told["token"]), steps, told["finish"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SettingsError("these are no costs as `motet bench calibrate` writes them") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the report of `motet bench calibrate`. Raises `SettingsError`, naming the file."""
        try:
            return cls.of_dict(json.loads(path.read_text())["details"]["costs"])
        except (OSError, ValueError, KeyError, TypeError, SettingsError):
            raise SettingsError(
                f"{path} holds no measured costs: write it with `motet bench calibrate --out {path}`"
            ) from None
