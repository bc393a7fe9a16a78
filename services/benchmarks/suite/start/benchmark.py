"""The benchmark `start`: the first word of a new process against the import of torch."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import alternating, median
from services.benchmarks.suite.start.first_output import FirstOutput
from services.factory import open_bundle

_PROMPT = "hello"
_IMPORT = "import torch; print('imported', flush=True)"
_BAR = at_most(2)
"""Bar of the time until the first word, in durations of the import."""


def measure(bundle: str, rounds: int) -> Report:
    """Measure `motet run` and the import of torch, each in a new process, after one round without measurement."""
    # The measured processes run in another folder.
    folder = str(open_bundle(bundle, ()).folder)
    samples = asyncio.run(_samples(folder, rounds))
    word, imported = samples["word"], samples["import"]
    return Report(
        "start",
        {"bundle": bundle, "rounds": rounds},
        [
            Figure(
                f"`motet run {_PROMPT}` until the first word",
                median(each.seconds for each in word),
                "s",
                Baseline("import torch", median(each.seconds for each in imported)),
                _BAR,
            ),
            Figure(
                "processor time until the first word",
                median(each.processor_seconds for each in word),
                "s",
                Baseline("import torch", median(each.processor_seconds for each in imported)),
            ),
        ],
        [
            "Each figure is the median of the rounds. Each process is new, and ends after its first output. The files "
            "are in the page cache.",
            "The baseline is `python -c 'import torch'` of the same environment, until torch is imported.",
        ],
        details={name: [asdict(each) for each in outputs] for name, outputs in samples.items()},
    )


async def _samples(bundle: str, rounds: int) -> dict[str, list[FirstOutput]]:
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        # Without -P, the working directory could hide this package.
        run = ["-m", "services", "run", _PROMPT, "--bundle", bundle, "--out", folder]
        commands = {"word": [sys.executable, "-P", *run], "import": [sys.executable, "-P", "-c", _IMPORT]}
        return await alternating(
            rounds,
            {name: partial(_first_output, command, Path(folder)) for name, command in commands.items()},
            warmup=1,
        )


async def _first_output(command: list[str], folder: Path) -> FirstOutput:
    return FirstOutput.of(command, folder)
