"""The tiny language model of the engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from motet.core.bundle import Bundle
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from tests.models.llm.engines import POSITIONS, Load
from tests.models.tiny_bundle import tiny_bundle


@pytest.fixture(scope="module")
def engine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with long signal runs."""
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), POSITIONS, {"image": 4, "audio": 24})


@pytest.fixture
def load(engine_bundle: Bundle) -> Iterator[Load]:
    """Load models with any engine config, and close them after the test."""
    yield from _loading(engine_bundle)


@pytest.fixture
def load_text_model(tmp_path: Path) -> Iterator[Load]:
    """Load models that request no media."""
    yield from _loading(tiny_bundle(tmp_path, POSITIONS, likelihood=0))


def _loading(bundle: Bundle) -> Iterator[Load]:
    models: list[LlamaLanguageModel] = []

    def load(**config: int) -> LlamaLanguageModel:
        models.append(load_language_model(bundle, EngineConfig(**config)))
        return models[-1]

    yield load
    for model in models:
        model.close()
