"""What the settings of a service say of the engine behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from motet.core.errors import SettingsError
from motet.models.llm.config import EngineConfig
from services.decoder.service import decoder_service
from services.encoder.service import encoder_service
from services.llm.service import language_model_service
from services.llm.settings import LanguageModelSettings
from services.serve import Service
from services.settings import settings_of
from tests.models.tiny_bundle import tiny_bundle


def test_a_language_models_budget_comes_from_the_environment_and_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOTET_KV_TOKENS", "4000")
    monkeypatch.setenv("MOTET_PREFIX_TOKENS", "7")

    settings = settings_of(LanguageModelSettings, {"prefix_tokens": 0, "pass_tokens": 64})

    assert settings.budget == EngineConfig(4000, 0, 64)


def test_what_is_not_set_suits_the_model() -> None:
    assert settings_of(LanguageModelSettings, {}).budget == EngineConfig()


async def test_the_service_gives_the_engine_its_budget(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")

    async with language_model_service({"bundle": str(bundle.folder), "kv_tokens": 345}).opened():
        assert REGISTRY.get_sample_value("motet_llm_kv_tokens_limit") == 345


@pytest.mark.parametrize("kind", ["encoder", "language model", "decoder"])
async def test_a_device_that_is_not_there_is_refused_when_a_worker_is_loaded(kind: str, tmp_path: Path) -> None:
    services: dict[str, Callable[[dict[str, Any]], Service]] = {
        "encoder": encoder_service,
        "language model": language_model_service,
        "decoder": decoder_service,
    }
    given = {"bundle": str(tiny_bundle(tmp_path / "bundle").folder), "device": "cuda:99"}
    given |= {"modality": "image"} if kind == "decoder" else {}

    with pytest.raises(SettingsError, match="there is no cuda:99"):
        async with services[kind](given).opened():
            pass
