"""Measured times of workers, from which a simulation samples."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from motet.core.errors import SettingsError

Samples = Sequence[float]

RECORDED_COSTS = Path(__file__).parents[3] / "docs" / "benchmarks" / "calibration.json"
"""The calibration report of the repository: the default costs of a simulation."""


def sample_at(samples: Samples, quantile: float) -> float:
    """Return the sample at a quantile from 0 to 1."""
    return sorted(samples)[min(len(samples) - 1, int(quantile * len(samples)))]


@dataclass(frozen=True, slots=True)
class TickCosts:
    """Samples of the seconds of one tick (a token or a denoising step), by batch size."""

    samples: Mapping[int, Samples]

    def __post_init__(self) -> None:
        if not self.samples or not all(self.samples.values()):
            raise SettingsError("tick costs need samples of at least one batch size")

    def seconds(self, size: int, quantile: float) -> float:
        """Return the seconds of a tick of `size` calls, at a quantile (0 to 1) of the samples.

        Between two measured sizes the result is interpolated. Beyond the largest size it grows in proportion.
        """
        sizes = sorted(self.samples)
        index = bisect_left(sizes, size)
        if index == len(sizes):
            return self._at(sizes[-1], quantile) * size / sizes[-1]
        above = sizes[index]
        if index == 0 or above == size:
            return self._at(above, quantile)
        below = sizes[index - 1]
        share = (size - below) / (above - below)
        return self._at(below, quantile) * (1 - share) + self._at(above, quantile) * share

    def _at(self, size: int, quantile: float) -> float:
        return sample_at(self.samples[size], quantile)


@dataclass(frozen=True, slots=True)
class MeasuredCosts:
    """The times of a bundle's workers, in seconds.

    `prompt` is the time until the first token. `token` and `step` are ticks. `finish` is the time from a decoder's last
    step to its media. `step` and `finish` are by modality.
    """

    prompt: Samples
    token: TickCosts
    step: Mapping[str, TickCosts]
    finish: Mapping[str, Samples]

    def as_dict(self) -> dict[str, Any]:
        """Return all samples, for JSON."""

        def by_size(costs: TickCosts) -> dict[str, list[float]]:
            return {str(size): list(samples) for size, samples in costs.samples.items()}

        return {
            "prompt": list(self.prompt),
            "token": by_size(self.token),
            "step": {modality: by_size(costs) for modality, costs in self.step.items()},
            "finish": {modality: list(samples) for modality, samples in self.finish.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the costs of a result of `as_dict`. Raises `SettingsError` for other values."""

        def tick_costs(by_size: Mapping[str, Samples]) -> TickCosts:
            return TickCosts({int(size): samples for size, samples in by_size.items()})

        try:
            steps = {modality: tick_costs(by_size) for modality, by_size in values["step"].items()}
            return cls(values["prompt"], tick_costs(values["token"]), steps, values["finish"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SettingsError("these are not costs of `motet bench calibrate`") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the costs in a report of `motet bench calibrate`. Raises `SettingsError` with the path of the file."""
        try:
            return cls.from_dict(json.loads(path.read_text())["details"]["costs"])
        except (OSError, ValueError, KeyError, TypeError, SettingsError):
            raise SettingsError(
                f"{path} holds no measured costs: write them with `motet bench calibrate --out {path}`"
            ) from None
