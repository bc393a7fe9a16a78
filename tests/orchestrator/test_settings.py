"""Tests of the orchestrator's settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from orchestrator.settings import OrchestratorSettings


def test_the_environment_sets_fields(monkeypatch):
    monkeypatch.setenv("MOTET_MAX_DURATION", "30")
    monkeypatch.setenv("MOTET_DECODERS", '{"a": "host:1"}')

    settings = OrchestratorSettings()

    assert (settings.max_duration, settings.decoders) == (30.0, {"a": "host:1"})


@pytest.mark.parametrize(
    "wrong",
    [{"max_duration": 0}, {"max_duration": "inf"}, {"max_parts": 0}, {"result_ttl": -1}, {"unknown": 1}],
)
def test_invalid_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        OrchestratorSettings(**wrong)


def test_every_setting_has_a_description():
    undocumented = [name for name, field in OrchestratorSettings.model_fields.items() if not field.description]

    assert not undocumented
