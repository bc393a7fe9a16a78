"""How many songs to sing at once: measured, not assumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from motet.scheduling.moving_average import MovingAverage

_EDITION = "2"
"""Another one whenever networks are computed in another way: what was learnt before does not hold then."""
_SIZES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
_TRIALS = 4
_GAIN = 1.03
"""What must be gained, as a ratio; below that it is noise."""
_MISSES = 2
"""So many sizes in a row without a gain over smaller ones, and no larger one is tried."""


def subject_of(digest: str, modality: str, device: torch.device) -> dict[str, str]:
    """What a curve is about: all that decides how long a step takes and how its sums are rounded."""
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        processor = f"{_processor()} {torch.backends.cpu.get_cpu_capability()}"
    threads = str(torch.get_num_threads())
    return {
        "bundle": digest,
        "modality": modality,
        "device": f"{device.type} {processor}",
        "threads": threads,
        "torch": torch.__version__,
        "edition": _EDITION,
    }


def default_folder() -> Path:
    """Where curves are kept unless told otherwise: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motet" / "costs"


@dataclass(frozen=True, slots=True)
class Cost:
    """What trials of one size have shown.

    `together` and `apart` are the least seconds that one step of all these songs took, in one batch and one after
    another; `influence` is the largest difference that being together made to any number the network said.
    The seconds of the first trial do not count: libraries prepare themselves for a new size.
    """

    together: float
    apart: float
    influence: float
    trials: int

    @property
    def gain(self) -> float:
        """How many times faster together is than apart."""
        return self.apart / self.together if 0 < self.together < math.inf else 0.0


class CostCurve:
    """Seconds a step, by the number of songs in it; so batching is off where it does not pay, or changes a result.

    It is measured on real work: when so many songs wait for the first few times, a step is computed both ways
    (`to_try`), and what came of each song alone is used. `influence` is how far a song may move because of its
    neighbours, 0 for not by a bit. With a `folder`, what was learnt of the subject `of` (see `subject_of`) outlives the
    process, in a file; a file about anything else, or a broken one, is not read.
    """

    def __init__(
        self, batch_tolerance: float = 0.0, folder: Path | None = None, of: Mapping[str, str] | None = None
    ) -> None:
        self._batch_tolerance = batch_tolerance
        self._of = dict(of or {})
        name = hashlib.sha256(json.dumps(self._of, sort_keys=True).encode()).hexdigest()
        self._file = folder / f"{name[:32]}.json" if folder else None
        self._costs = self._read()
        self._seconds = {size: MovingAverage(cost.together) for size, cost in self._costs.items() if cost.gain}
        if self._seconds:
            size = min(self._seconds)
            self._seconds[1] = MovingAverage(self._costs[size].apart / size)

    @property
    def costs(self) -> Mapping[int, Cost]:
        """What is known, by size."""
        return self._costs

    def size(self, waiting: int) -> int:
        """How many of so many to take in the next step: the least that gains as much as any, or one to be tried."""
        trying = self._next_trial()
        return trying if trying is not None and trying <= waiting else self._best(waiting)

    def to_try(self, size: int) -> bool:
        """Whether a step of this size should be computed both ways, and told to `learn`."""
        return size == self._next_trial()

    def allows(self, size: int) -> bool:
        """Whether so many may be computed together, whether or not that pays."""
        return size == 1 or (size in self._costs and self._admits(self._costs[size]))

    def learn(self, size: int, together: float, apart: float, influence: float) -> None:
        """What one trial has shown; infinite seconds and influence where it could not be done at all."""
        so_far = self._costs.get(size, Cost(math.inf, math.inf, 0.0, 0))
        if so_far.trials:
            together, apart = min(together, so_far.together), min(apart, so_far.apart)
        else:
            together, apart = math.inf, math.inf
        self._costs[size] = Cost(together, apart, max(influence, so_far.influence), so_far.trials + 1)
        if self._settled(self._costs[size]):
            self._write()

    def observe(self, size: int, seconds: float) -> None:
        """What a step has just taken."""
        self._seconds.setdefault(size, MovingAverage()).add(seconds)

    def pace(self, songs: int) -> float | None:
        """About how many seconds pass from one step of a song to its next, with so many at work; None if unknown."""
        size = self._best(songs)
        seconds = self._seconds[size].value if size in self._seconds else None
        if seconds is None and 1 in self._seconds:
            seconds = (self._seconds[1].value or 0.0) * size
        return None if seconds is None else seconds * math.ceil(songs / size)

    def _best(self, waiting: int) -> int:
        admitted = {size: cost.gain for size, cost in self._costs.items() if size <= waiting and self._admits(cost)}
        gains = {1: 1.0} | admitted
        most = max(gains.values())
        # Of equal gains the least: more at once would keep those that are nearly done waiting for the others.
        return min(size for size, gain in gains.items() if gain * _GAIN >= most)

    def _admits(self, cost: Cost) -> bool:
        return self._settled(cost) and cost.influence <= self._batch_tolerance

    def _settled(self, cost: Cost) -> bool:
        return cost.trials >= _TRIALS or cost.influence > self._batch_tolerance

    def _next_trial(self) -> int | None:
        best, misses = 1.0, 0
        for size in _SIZES:
            cost = self._costs.get(size)
            if cost is None or not self._settled(cost):
                return size
            misses = 0 if cost.gain >= best * _GAIN else misses + 1
            if cost.influence > self._batch_tolerance or misses == _MISSES:
                return None
            best = max(best, cost.gain)
        return None

    def _read(self) -> dict[int, Cost]:
        # Whatever is wrong with the file, measuring again mends it.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            stored: dict[str, Any] = json.loads(self._file.read_text()) if self._file else {}
            if stored and stored["of"] == self._of:
                return {int(size): _cost(cost) for size, cost in stored["costs"].items()}
        return {}

    def _write(self) -> None:
        if self._file is None:
            return
        stored = {"of": self._of, "costs": {size: asdict(cost) for size, cost in self._costs.items()}}
        unfinished = self._file.with_suffix(f".{os.getpid()}")
        # Where nothing can be stored, every process measures for itself.
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps(stored, indent=1))
            unfinished.replace(self._file)


def _cost(stored: Mapping[str, Any]) -> Cost:
    together, apart, influence = (float(stored[name]) for name in ("together", "apart", "influence"))
    return Cost(together, apart, influence, int(stored["trials"]))


def _processor() -> str:
    # `platform.processor()` is empty on most Linux; a home that several machines share needs the model's name.
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
