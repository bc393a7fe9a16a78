"""Every ci values file of the chart: it renders, and the objects fit the schemas of Kubernetes and cert-manager."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import helm_python
import pytest
from cloudcoil.models.cert_manager import v1 as cert_manager
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from pydantic import BaseModel
from referencing import Registry, Resource

from tests.deploy.chart import CHART, CI_VALUES, NEWEST, OLDEST, OLDEST_FOR, Object, ci_values, objects

CASES = [(name, version) for name in CI_VALUES for version in (OLDEST_FOR.get(name, OLDEST), NEWEST)]
BUILT_IN = (
    "v1",
    "apps/v1",
    "batch/v1",
    "policy/v1",
    "networking.k8s.io/v1",
    "resource.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
)
MODELS = {"cert-manager.io/v1": cert_manager, "monitoring.coreos.com/v1": prometheus_operator}
"""The models of custom resources. The Gateway API has none."""


@cache
def definitions(version: str) -> Registry[Any]:
    """Return the definitions of a Kubernetes version. kubernetes-validate reads these 4 MB again for each object."""
    contents = schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json", version)
    return Resource.from_contents(contents) @ Registry()


@cache
def validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    """Return the validator of a kind. Unknown keys are errors."""
    group = re.sub(r"\.[^/]*", "", api_version).replace("/", "-")
    name = f"kubernetes-json-schema/v{version}.0-local-strict/{kind.lower()}-{group}.json"
    schema = schema_contents(name, version)
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ definitions(version))


def errors(each: Object, version: str) -> list[str]:
    """Return the errors of an object under a version of Kubernetes."""
    found = validator(each["kind"], each["apiVersion"], version).iter_errors(each)
    return [f"{each['kind']} {each['metadata']['name']}: {error.json_path}: {error.message}" for error in found]


def model_errors(each: Object) -> list[str]:
    """Return the keys of an object that its model does not have. Raises `ValidationError`."""
    model: type[BaseModel] = getattr(MODELS[each["apiVersion"]], each["kind"])
    return unknown_keys(each, model.model_validate(each).model_dump(by_alias=True, exclude_none=True))


def unknown_keys(given: Any, known: Any, path: str = "") -> list[str]:
    """Return the paths of keys that a model dropped. The models do not refuse unknown keys."""
    if isinstance(given, list) and isinstance(known, list):
        pairs = enumerate(zip(given, known, strict=True))
        return [error for index, (item, same) in pairs for error in unknown_keys(item, same, f"{path}[{index}]")]
    if not (isinstance(given, dict) and isinstance(known, dict)):
        return []
    lost = [f"{path}.{key}" for key in given if key not in known]
    kept = [key for key in given if key in known]
    return lost + [error for key in kept for error in unknown_keys(given[key], known[key], f"{path}.{key}")]


@pytest.mark.parametrize(("name", "version"), CASES)
def test_the_objects_of_each_file_fit_the_oldest_and_the_newest_kubernetes(name: str, version: str) -> None:
    built_in = [each for each in objects(ci_values(name), version) if each["apiVersion"] in BUILT_IN]

    assert [error for each in built_in for error in errors(each, version)] == []


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_other_object_is_of_an_api_that_is_checked_elsewhere(name: str) -> None:
    others = {each["apiVersion"] for each in objects(ci_values(name))} - set(BUILT_IN)

    assert others <= {*MODELS, "gateway.networking.k8s.io/v1"}


def test_a_wrong_key_is_found() -> None:
    deployment = next(each for each in objects() if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False

    assert "'enableServiceLink' was unexpected" in errors(deployment, NEWEST)[0]


@pytest.mark.parametrize("name", CI_VALUES)
def test_the_custom_resources_of_each_file_fit_their_models(name: str) -> None:
    for each in objects(ci_values(name)):
        if each["apiVersion"] in MODELS:
            assert model_errors(each) == []


def test_a_wrong_key_of_a_certificate_is_found() -> None:
    certificate = next(each for each in objects() if each["kind"] == "Certificate")
    certificate["spec"]["renewBfore"] = "1h"

    assert model_errors(certificate) == [".spec.renewBfore"]


def test_a_wrong_key_of_a_pod_monitor_is_found() -> None:
    monitor = next(each for each in objects(ci_values("multi-node")) if each["kind"] == "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"

    assert model_errors(monitor) == [".spec.podMetricsEndpoints[0].intervall"]


@pytest.mark.parametrize("name", CI_VALUES)
def test_helm_lints_each_file_without_a_warning(name: str) -> None:
    version = f"v{OLDEST_FOR.get(name, OLDEST)}.0"

    report = helm_python.lint(CHART, ci_values(name), strict=True, kube_version=version)

    assert [each for each in report["messages"] if each["severity"] > 1] == []
    assert report["errors"] == []


def test_helm_lints_the_default_values_without_a_warning() -> None:
    report = helm_python.lint(CHART, strict=True, kube_version=f"v{OLDEST}.0")

    assert [each for each in report["messages"] if each["severity"] > 1] == []


def test_an_older_kubernetes_is_refused() -> None:
    metadata = helm_python.Chart.load(CHART).metadata

    assert metadata["kubeVersion"] == f">={OLDEST}.0-0"


@pytest.mark.parametrize("name", CI_VALUES)
def test_no_two_objects_have_the_same_name(name: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in objects(ci_values(name))]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", CI_VALUES)
def test_names_are_at_most_63_characters_for_the_longest_release(name: str) -> None:
    rendered = objects({**ci_values(name), "fullnameOverride": "a" * 40})

    assert max(len(each["metadata"]["name"]) for each in rendered) <= 63
