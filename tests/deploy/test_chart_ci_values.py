"""Every ci values file of the chart: it renders, and the objects fit the schemas of Kubernetes and cert-manager."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import helm_python
import pytest

from tests.deploy.chart import CHART, CI_VALUES, NEWEST, OLDEST, OLDEST_FOR, ci_values, objects
from tests.deploy.crd_schemas import MODELS, OWN, path_of, source_of
from tests.deploy.object_errors import BUILT_IN, errors, kind_of

CASES = [(name, version) for name in CI_VALUES for version in (OLDEST_FOR.get(name, OLDEST), NEWEST)]
SOME = [each for name in ("multi-node", "autoscaling") for each in objects(ci_values(name))]
"""Objects of all kinds of custom resources."""


@pytest.mark.parametrize(("name", "version"), CASES)
def test_the_objects_of_each_file_fit_the_oldest_and_the_newest_kubernetes(name: str, version: str) -> None:
    assert [error for each in objects(ci_values(name), version) for error in errors(each, version)] == []


def test_a_wrong_key_is_found() -> None:
    deployment = next(each for each in objects() if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False

    assert "'enableServiceLink' was unexpected" in errors(deployment, NEWEST)[0]


def test_every_custom_resource_with_a_schema_occurs_in_a_file() -> None:
    kinds = {kind_of(each) for name in CI_VALUES for each in objects(ci_values(name))}
    kinds |= {kind_of(each) for each in objects()}

    assert {kind for kind in kinds if kind[0] not in BUILT_IN} == {*MODELS, *OWN}


@pytest.mark.parametrize(
    ("kind", "path", "key"),
    [
        ("Certificate", ("spec",), "renewBfore"),
        ("Issuer", ("spec",), "selfsigned"),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0), "intervall"),
        ("GRPCRoute", ("spec", "rules", 0, "backendRefs", 0), "service"),
        ("GRPCRoute", ("spec", "parentRefs", 0), "gateway"),
        ("ScaledObject", ("spec",), "cooldown"),
        ("ScaledObject", ("spec", "triggers", 0), "metric"),
        ("TriggerAuthentication", ("spec", "secretTargetRef", 0), "secret"),
    ],
)
def test_a_wrong_key_of_a_custom_resource_is_found(kind: str, path: tuple[str | int, ...], key: str) -> None:
    each = next(deepcopy(each) for each in [*objects(), *SOME] if each["kind"] == kind)
    place: Any = each
    for step in path:
        place = place[step]
    place[key] = "1h"

    assert f"'{key}' was unexpected" in str(errors(each))


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "interval"), "15 seconds"),
        ("PodMonitor", ("spec", "selector"), None),
        ("Certificate", ("spec", "dnsNames"), "motet.example"),
        ("GRPCRoute", ("spec", "hostnames", 0), "Motet.example.com"),
        ("GRPCRoute", ("spec", "rules", 0, "backendRefs", 0, "port"), "grpc"),
        ("ScaledObject", ("spec", "triggers", 0, "metadata", "targetSeconds"), 10),
        ("ScaledObject", ("spec", "triggers"), None),
    ],
)
def test_a_wrong_value_of_a_custom_resource_is_found(kind: str, path: tuple[str | int, ...], wrong: object) -> None:
    each = next(deepcopy(each) for each in SOME if each["kind"] == kind)
    place: Any = each
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong

    assert errors(each)


def test_the_schemas_are_those_of_the_installed_models() -> None:
    for (_, kind), distribution in MODELS.items():
        comment = json.loads(path_of(kind).read_text())["$comment"]
        assert comment == source_of(distribution), "run python -m tests.deploy.crd_schemas"


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
