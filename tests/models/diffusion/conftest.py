"""Fixtures of the diffusion tests: tiny decoders with random weights, and a clock that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.decoder import DiffusionDecoder, load_decoder
from tests.models.diffusion import tiny_decoders as tiny
from tests.models.diffusion.watched_model import WatchedModel

torch.set_num_threads(1)

MakeDecoder = Callable[..., tuple[DiffusionDecoder, WatchedModel]]


class Clock:
    """The clock of deadlines and measured steps. Its time changes only when a test changes it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("motet.core.deadline", "motet.models.diffusion.engine", "motet.models.diffusion.scheduling"):
        monkeypatch.setattr(f"{module}.now", clock)
    return clock


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle with tiny decoders."""
    folder = tmp_path_factory.mktemp("bundle")
    tiny.write(folder)
    return folder


@pytest.fixture
def make_decoder(folder: Path) -> Iterator[MakeDecoder]:
    """A function that loads a decoder with a given cost curve, and returns it with its watched model."""
    decoders: list[DiffusionDecoder] = []

    def make(curve: CostCurve, modality: str = "image") -> tuple[DiffusionDecoder, WatchedModel]:
        decoder = load_decoder(tiny.bundle(folder), modality)
        decoders.append(decoder)
        model = WatchedModel(decoder._engine._model)
        decoder._engine._model, decoder._engine._curve_of = model, lambda rows: curve
        return decoder, model

    yield make
    for decoder in decoders:
        decoder.close()
