"""The environment of each component: the product accepts it, and serves with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from services.cli.checks.environment import check_environment
from services.decoder.settings import DecoderSettings
from services.encoder.settings import EncoderSettings
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import ServiceSettings, settings_of
from tests.deploy.chart import CI_VALUES, ci_values, of_kind

KINDS: Mapping[str, type[ServiceSettings]] = {
    "encoder": EncoderSettings,
    "llm": LanguageModelSettings,
    "decoder": DecoderSettings,
    "orchestrator": OrchestratorServiceSettings,
}


def settings(monkeypatch: pytest.MonkeyPatch, name: str, values: Mapping[str, Any] | None = None) -> ServiceSettings:
    """Return the settings that a component's service reads from its environment."""
    container = of_kind("Deployment", values)[name]["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each["value"] for each in container["env"]}
    check_environment(variables)
    assert container["command"] == ["motet", "serve", container["name"]]
    with monkeypatch.context() as patch:
        for variable, value in variables.items():
            patch.setenv(variable, value)
        return settings_of(KINDS[container["name"]], {})


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_service_accepts_the_environment_of_each_file(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for component in of_kind("Deployment", ci_values(name)):
        settings(monkeypatch, component, ci_values(name))


def test_every_worker_requires_a_certificate_of_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in of_kind("Deployment"):
        found = settings(monkeypatch, name)
        assert found.tls_cert is not None
        assert found.tls_client_ca is not None


@pytest.mark.parametrize("name", CI_VALUES)
def test_only_the_metrics_are_exempt_from_encryption_and_authentication(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    values = ci_values(name)
    for component in of_kind("Deployment", values):
        found = settings(monkeypatch, component, values)
        assert found.allow_insecure_metrics
        assert found.allow_insecure is values.get("allowInsecure", False)


def test_the_orchestrator_knows_the_address_of_every_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, "orchestrator", ci_values("multi-node"))

    assert isinstance(found, OrchestratorServiceSettings)
    assert found.encoder == ("kubernetes://ml/demo-encoder:grpc",)
    assert found.language_model == ("kubernetes://ml/demo-llm:grpc",)
    assert found.decoders["film"] == ("kubernetes://ml/demo-film:grpc",)


def test_entries_of_one_modality_form_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"workers": {"image-large": {"kind": "decoder", "modality": "image"}}}

    found = settings(monkeypatch, "orchestrator", values)

    assert isinstance(found, OrchestratorServiceSettings)
    assert found.decoders["image"] == ("dns:///demo-image.ml.svc:50050", "dns:///demo-image-large.ml.svc:50050")


@pytest.mark.parametrize(("count", "device"), [(0, "cpu"), (1, "cuda")])
def test_a_worker_uses_the_gpu_that_its_pod_has(monkeypatch: pytest.MonkeyPatch, count: int, device: str) -> None:
    found = settings(monkeypatch, "image", {"defaults": {"gpu": {"count": count}}})

    assert getattr(found, "device", None) == device


def test_tokens_are_settings_of_the_orchestrator(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {"jwt_issuer": "https://id.example", "jwt_audience": "motet", "jwt_keys": "https://id.example/keys"}
    values = {
        "orchestrator": {"settings": {**tokens, "jwt_default_models": ["a", "b"]}},
        "networkPolicy": {"orchestratorEgress": [{"ports": [{"port": 443}]}]},
    }

    found = settings(monkeypatch, "orchestrator", values)

    assert isinstance(found, OrchestratorServiceSettings)
    assert found.jwt_default_models == {"a", "b"}
