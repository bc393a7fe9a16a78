"""The benchmark `gpu`, with tiny models on a CPU."""

from __future__ import annotations

import pytest
import torch

from motet.core.errors import SettingsError
from services.benchmarks.suite import gpu

UNITS = {"image": "pictures/s", "audio": "sounds/s", "video": "clips/s"}


@pytest.mark.parametrize("modality", UNITS)
def test_engines_and_stock_libraries_run_on_the_same_weights(modality: str) -> None:
    report = gpu.measure(sizes=(2,), rounds=1, smoke=True, modalities=(modality,))

    media, text = report.figure(f"{modality}, 2 at a time"), report.figure("text, 2 at a time")
    assert media.unit == UNITS[modality]
    assert media.ratio is not None
    assert text.ratio is not None
    assert min(media.value, media.ratio, text.value, text.ratio) > 0
    assert 0 < report.figure(f"{modality}, 2 at a time: share of the limit").value < 100
    difference = report.figure(f"{modality}: difference of the network's output in a batch and alone")
    assert 0 <= difference.value <= 0.1
    assert any("have no meaning" in note for note in report.notes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_error_without_a_gpu_names_cuda() -> None:
    with pytest.raises(SettingsError, match="needs CUDA"):
        gpu.measure(sizes=(1,), rounds=1, smoke=False)
