"""`motet bench`: each benchmark accepts all fields of its settings, and a missing library is one line."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from services.benchmarks import settings
from services.benchmarks.suite import (
    calibrate,
    contention,
    diffusion,
    encoder,
    gpu,
    llm,
    orchestrator_overhead,
    overlap,
    serve,
    simulate,
)
from tests.services.command import CLEAN


@pytest.mark.parametrize(
    ("kind", "measure"),
    [
        (settings.CalibrateSettings, calibrate.measure),
        (settings.ContentionSettings, contention.measure),
        (settings.DiffusionSettings, diffusion.measure),
        (settings.EncoderSettings, encoder.measure),
        (settings.GpuSettings, gpu.measure),
        (settings.LanguageModelSettings, llm.measure),
        (settings.OrchestratorSettings, orchestrator_overhead.measure),
        (settings.OverlapSettings, overlap.measure),
        (settings.ServeSettings, serve.measure),
        (settings.SimulateSettings, simulate.measure),
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
