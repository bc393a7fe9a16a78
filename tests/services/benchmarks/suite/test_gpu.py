"""The benchmark of full-size models, in small: its code runs where no GPU is."""

from __future__ import annotations

import pytest
import torch

from motet.core.errors import SettingsError
from services.benchmarks.suite import gpu

KINDS = {"image": "pictures/s", "audio": "sounds/s", "video": "clips/s"}


@pytest.mark.parametrize("modality", KINDS)
def test_engines_and_stock_libraries_run_on_the_same_weights(modality: str) -> None:
    report = gpu.measure(sizes=(2,), rounds=1, modalities=(modality,), smoke=True)

    made, text = report.figure(f"{modality}, 2 at a time"), report.figure("text, 2 at a time")
    assert made.unit == KINDS[modality]
    assert made.ratio is not None
    assert text.ratio is not None
    assert min(made.value, made.ratio, text.value, text.ratio) > 0
    assert 0 < report.figure(f"{modality}, 2 at a time: share of the limit").value < 100
    assert 0 <= report.figure(f"{modality}: neighbours' influence on what the network says").value <= 0.1
    assert any("mean nothing" in note for note in report.notes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_it_needs() -> None:
    with pytest.raises(SettingsError, match="needs CUDA"):
        gpu.measure()
