"""Settings of services: from the environment and from options, which take precedence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from services.cli.checks.environment import known_names
from services.decoder.settings import DecoderSettings
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings, addresses_of
from services.settings import ServiceSettings, settings_of

ROOT = Path(__file__).parents[2]


def test_an_option_takes_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_THREADS", "3")
    monkeypatch.setenv("MOTET_MODALITY", "image")

    settings = settings_of(DecoderSettings, {"modality": None, "threads": 2})

    assert (settings.modality, settings.threads) == ("image", 2)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ServiceSettings, "THREADS", "0"),
        (ServiceSettings, "GRACE", "-1"),
        (ServiceSettings, "GRACE", "nan"),
        (ServiceSettings, "LOG_LEVEL", "loud"),
        (ServiceSettings, "TOY", "perhaps"),
        (LanguageModelSettings, "KV_TOKENS", "0"),
        (LanguageModelSettings, "PREFIX_CACHE_TOKENS", "-1"),
        (LanguageModelSettings, "MAX_BATCHED_TOKENS", "none"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    kind: type[ServiceSettings], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MOTET_{name}", value)

    with pytest.raises(SettingsError, match=f"MOTET_{name}"):
        settings_of(kind, {})


def test_the_orchestrator_has_the_settings_of_a_service_and_of_an_orchestrator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_DECODERS", '{"image": "host:1"}')
    monkeypatch.setenv("MOTET_MAX_DURATION", "9")

    settings = settings_of(OrchestratorServiceSettings, {"bundle": "other"})

    assert (settings.decoders, settings.max_duration, settings.bundle) == ({"image": "host:1"}, 9, "other")


def test_decoder_addresses_are_pairs() -> None:
    assert addresses_of(["image=a:1", "audio=b:2"]) == {"image": "a:1", "audio": "b:2"}
    with pytest.raises(SettingsError, match="MODALITY=HOST:PORT"):
        addresses_of(["image"])


def test_a_batch_tolerance_is_not_negative() -> None:
    with pytest.raises(SettingsError, match="MOTET_BATCH_TOLERANCE"):
        settings_of(DecoderSettings, {"modality": "a", "batch_tolerance": -1})


PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "reference").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_variable_that_a_document_names_exists(page: Path) -> None:
    assert set(re.findall(r"\bMOTET_[A-Z_]+[A-Z]", page.read_text())) <= known_names()
