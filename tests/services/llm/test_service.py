"""The language model service: its engine's limits come from the settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from motet.models.llm.config import EngineConfig
from services.llm.service import language_model_service
from services.llm.settings import LanguageModelSettings
from services.settings import settings_of
from tests.models.tiny_bundle import tiny_bundle


def test_the_engine_config_comes_from_the_environment_and_from_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_KV_TOKENS", "4000")
    monkeypatch.setenv("MOTET_PREFIX_CACHE_TOKENS", "7")

    settings = settings_of(LanguageModelSettings, {"prefix_cache_tokens": 0, "max_batched_tokens": 64})

    assert settings.engine_config == EngineConfig(4000, 0, 64)


def test_the_default_engine_config_depends_on_the_model() -> None:
    assert settings_of(LanguageModelSettings, {}).engine_config == EngineConfig()


async def test_the_service_passes_the_limits_to_the_engine(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")

    async with language_model_service({"bundle": str(bundle.folder), "kv_tokens": 345}).open():
        assert REGISTRY.get_sample_value("motet_llm_kv_tokens_limit") == 345
