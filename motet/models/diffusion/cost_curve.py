"""The batch size of a step, chosen by measured seconds and measured differences."""

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

from motet.models.dtype import name_of
from motet.scheduling.moving_average import MovingAverage

_ROUNDING_UNITS = 32
_TF32_UNIT = 2.0**-10
_EDITION = "3"
"""The edition of stored curves. Change it if networks compute differently or the file format changes: files of other
editions are not read."""
_SIZES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
"""Batch sizes that are measured, in this order."""
_TRIALS = 4
"""Number of trials per size, including the first one, whose seconds do not count."""
_MIN_GAIN = 1.03
"""Minimum ratio of two gains that counts as faster. A smaller ratio is noise."""
_MAX_MISSES = 2
"""Number of consecutive sizes without a higher gain after which no larger size is tried."""


def default_tolerance(device: torch.device, dtype: torch.dtype) -> float:
    """Return the default `batch_tolerance` of a network: 0 on a CPU, and 32 rounding units on other devices.

    On a CPU, batching need not change a bit. A GPU has other kernels for other batch sizes, so with 0 hardly any job
    would share a step. The rounding unit of float32 is that of TF32, in which a GPU computes convolutions.
    """
    if device.type == "cpu":
        return 0.0
    return _ROUNDING_UNITS * (_TF32_UNIT if dtype == torch.float32 else torch.finfo(dtype).eps)


def subject_of(digest: str, modality: str, device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """Return the subject of a curve: everything that affects the seconds of a step and the rounding of its sums."""
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        processor = f"{_processor()} {torch.backends.cpu.get_cpu_capability()}"
    threads = str(torch.get_num_threads())
    return {
        "bundle": digest,
        "modality": modality,
        "device": f"{device.type} {processor}",
        "dtype": name_of(dtype),
        "threads": threads,
        "torch": torch.__version__,
        "edition": _EDITION,
    }


def default_folder() -> Path:
    """Return the default folder of stored curves, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motet" / "costs"


@dataclass(frozen=True, slots=True)
class Cost:
    """The result of all trials of one batch size.

    `batched_seconds` and `sequential_seconds` are the minimum seconds of one step of all jobs, in one batch and one
    after another. `difference` is the maximum difference that batching made to a value of the network's output. The
    seconds of the first trial do not count, because libraries prepare themselves for a new size.
    """

    batched_seconds: float
    sequential_seconds: float
    difference: float
    trials: int

    @property
    def gain(self) -> float:
        """The speedup of the batch over one job after another; 0 if it was not measured."""
        return self.sequential_seconds / self.batched_seconds if 0 < self.batched_seconds < math.inf else 0.0


class CostCurve:
    """The seconds of a step by batch size. Batches are used only if they are faster and change no result.

    The curve is measured on real work. The first steps of each new size are trials: they compute the network both ways
    (`to_try`), and the results of the sequential way are used. `batch_tolerance` is the maximum difference that
    batching may make to a value of the network's output; 0 demands equal bits. If `folder` is given, the measured costs
    of `subject` (see `subject_of`) are stored in a file there. A file of another subject or a broken file is not read.
    """

    def __init__(
        self, batch_tolerance: float = 0.0, folder: Path | None = None, subject: Mapping[str, str] | None = None
    ) -> None:
        self._batch_tolerance = batch_tolerance
        self._subject = dict(subject or {})
        name = hashlib.sha256(json.dumps(self._subject, sort_keys=True).encode()).hexdigest()
        self._file = folder / f"{name[:32]}.json" if folder else None
        self._costs = self._read()
        self._seconds = {size: MovingAverage(cost.batched_seconds) for size, cost in self._costs.items() if cost.gain}
        if self._seconds:
            size = min(self._seconds)
            self._seconds[1] = MovingAverage(self._costs[size].sequential_seconds / size)

    @property
    def costs(self) -> Mapping[int, Cost]:
        """The measured costs by batch size."""
        return self._costs

    def size(self, waiting: int) -> int:
        """Return the batch size of the next step for `waiting` jobs: the fastest size, or one to try.

        If several sizes are equally fast, the smallest one is returned.
        """
        trial = self._next_trial()
        return trial if trial is not None and trial <= waiting else self._best(waiting)

    def to_try(self, size: int) -> bool:
        """Return whether a step of this size is a trial. Compute it both ways and pass the result to `learn`."""
        return size == self._next_trial()

    def allows(self, size: int) -> bool:
        """Return whether a batch of this size is known to change no result, even if it is slower."""
        return size == 1 or (size in self._costs and self._admits(self._costs[size]))

    def learn(self, size: int, batched: float, sequential: float, difference: float) -> None:
        """Add the result of one trial. `batched` and `difference` are infinite if the batch could not be computed."""
        known = self._costs.get(size, Cost(math.inf, math.inf, 0.0, 0))
        if known.trials:
            batched, sequential = min(batched, known.batched_seconds), min(sequential, known.sequential_seconds)
        else:
            batched, sequential = math.inf, math.inf
        self._costs[size] = Cost(batched, sequential, max(difference, known.difference), known.trials + 1)
        if self._settled(self._costs[size]):
            self._write()

    def observe(self, size: int, seconds: float) -> None:
        """Add the measured seconds of a step that was not a trial."""
        self._seconds.setdefault(size, MovingAverage()).add(seconds)

    def step_seconds(self, jobs: int) -> float | None:
        """Return the predicted seconds between two steps of a job while `jobs` jobs run, or None if unknown."""
        size = self._best(jobs)
        seconds = self._seconds[size].value if size in self._seconds else None
        if seconds is None and 1 in self._seconds:
            seconds = (self._seconds[1].value or 0.0) * size
        return None if seconds is None else seconds * math.ceil(jobs / size)

    def _best(self, waiting: int) -> int:
        admitted = {size: cost.gain for size, cost in self._costs.items() if size <= waiting and self._admits(cost)}
        gains = {1: 1.0} | admitted
        highest = max(gains.values())
        # A larger batch of equal speed would delay the jobs that are nearly finished.
        return min(size for size, gain in gains.items() if gain * _MIN_GAIN >= highest)

    def _admits(self, cost: Cost) -> bool:
        return self._settled(cost) and cost.difference <= self._batch_tolerance

    def _settled(self, cost: Cost) -> bool:
        """Return whether the size needs no more trials."""
        return cost.trials >= _TRIALS or cost.difference > self._batch_tolerance

    def _next_trial(self) -> int | None:
        """Return the size to try next, or None if all useful sizes are measured."""
        best, misses = 1.0, 0
        for size in _SIZES:
            cost = self._costs.get(size)
            if cost is None or not self._settled(cost):
                return size
            misses = 0 if cost.gain >= best * _MIN_GAIN else misses + 1
            if cost.difference > self._batch_tolerance or misses == _MAX_MISSES:
                return None
            best = max(best, cost.gain)
        return None

    def _read(self) -> dict[int, Cost]:
        # A file that cannot be read is measured and written again.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            stored: dict[str, Any] = json.loads(self._file.read_text()) if self._file else {}
            if stored and stored["subject"] == self._subject:
                return {int(size): _cost(cost) for size, cost in stored["costs"].items()}
        return {}

    def _write(self) -> None:
        if self._file is None:
            return
        stored = {"subject": self._subject, "costs": {size: asdict(cost) for size, cost in self._costs.items()}}
        unfinished = self._file.with_suffix(f".{os.getpid()}")
        # If the file cannot be written, every process measures again.
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # Exclusive creation never follows a link that another user planted.
            with unfinished.open("x") as file:
                file.write(json.dumps(stored, indent=1))
            unfinished.replace(self._file)


def _cost(stored: Mapping[str, Any]) -> Cost:
    batched, sequential = float(stored["batched_seconds"]), float(stored["sequential_seconds"])
    return Cost(batched, sequential, float(stored["difference"]), int(stored["trials"]))


def _processor() -> str:
    # `platform.processor()` is empty on most Linux systems. Machines that share a home folder need the CPU's name.
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
