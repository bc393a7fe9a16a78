"""`motet bench`: each benchmark accepts all fields of its settings, and a missing library is one line."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from services.benchmarks import settings
from services.benchmarks import simulation_settings as simulations
from services.benchmarks.suite import (
    calibrate,
    contention,
    diffusion,
    edges,
    encoder,
    gpu,
    llm,
    orchestrator_overhead,
    overlap,
    serve,
    simulate,
)
from services.benchmarks.suite.observability import metrics, tracing
from services.benchmarks.suite.scaling import activation, size
from services.benchmarks.suite.scaling import benchmark as scaling
from services.benchmarks.suite.start import benchmark as start
from tests.services.command import CLEAN, motet


@pytest.mark.parametrize(
    ("kind", "measure"),
    [
        (settings.ActivationBenchSettings, activation.measure),
        (settings.CalibrateBenchSettings, calibrate.measure),
        (settings.ContentionBenchSettings, contention.measure),
        (settings.DiffusionBenchSettings, diffusion.measure),
        (settings.EdgesBenchSettings, edges.measure),
        (settings.EncoderBenchSettings, encoder.measure),
        (settings.GpuBenchSettings, gpu.measure),
        (settings.LanguageModelBenchSettings, llm.measure),
        (settings.MetricsBenchSettings, metrics.measure),
        (settings.OrchestratorBenchSettings, orchestrator_overhead.measure),
        (settings.OverlapBenchSettings, overlap.measure),
        (simulations.ScalingBenchSettings, scaling.measure),
        (settings.ServeBenchSettings, serve.measure),
        (simulations.SimulateBenchSettings, simulate.measure),
        (simulations.SizeBenchSettings, size.measure),
        (settings.StartBenchSettings, start.measure),
        (settings.TracingBenchSettings, tracing.measure),
    ],
)
def test_a_benchmark_accepts_all_fields_of_its_settings(kind: type[BaseModel], measure: Callable[..., Any]) -> None:
    inspect.signature(measure).bind(**kind().model_dump())


def test_a_missing_library_is_one_line_that_says_how_to_install_it() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['motet', 'bench', 'llm']\n"
        "from services.cli.app import app; app()"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=CLEAN)

    assert result.returncode == 2
    assert result.stderr.startswith("motet: torch is not installed: pip install 'motet[models]'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["llm", "--out", "."], "it is a folder"),
        (["overlap", "--plot", "plot.txt"], "--plot takes a file with the suffix .svg, .png, .pdf"),
        (["serve", "--trace", "absent.csv"], "absent.csv is not a file"),
        (["llm", "--random", "8x100"], "--random takes LAYERSxWIDTH with a WIDTH divisible by 64"),
        (["all", "--out", "/proc/x"], "/proc/x cannot be written"),
        (["table", "absent"], "absent"),
        (["table", ".", "--into", "absent.md"], "absent.md"),
    ],
)
def test_a_wrong_path_or_value_is_refused_before_the_benchmark_runs(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = motet("bench", *arguments, folder=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
