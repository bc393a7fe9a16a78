"""The chart, rendered by the real engine of Helm 4 without a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml
from helm_python import _native

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "motet"
CI_VALUES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
OLDEST, NEWEST = "1.30", "1.37"
"""The oldest and the newest Kubernetes that the chart supports."""
OLDEST_FOR = {"dra": "1.34"}
"""The oldest Kubernetes for the ci values that need a newer one."""


class YamlLoader(yaml.CSafeLoader):
    """A loader that refuses a key that occurs twice, as Kubernetes does."""


def _mapping(loader: YamlLoader, node: yaml.MappingNode) -> Object:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key occurs twice:{node.start_mark}"
    return dict(zip(keys, [loader.construct_object(value, deep=True) for _, value in node.value], strict=True))


YamlLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def ci_values(name: str) -> Object:
    """Return the values of a file of the folder ci."""
    return dict(json.loads(_ci_values(name)))


def files(values: Mapping[str, Any] | None = None, kubernetes: str = NEWEST) -> dict[str, str]:
    """Return the rendered text of each template by its path. Raises `HelmError`, with the message of `fail`."""
    options = {"name": "demo", "namespace": "ml", "kube_version": f"v{kubernetes}.0"}
    text = _native.call_string("helm_render", _chart()._raw(), json.dumps(values or {}), json.dumps(options))
    return {name.removeprefix("motet/templates/"): text for name, text in json.loads(text).items()}


def objects(values: Mapping[str, Any] | None = None, kubernetes: str = NEWEST) -> list[Object]:
    """Return all rendered objects, hooks included."""
    return [json.loads(text) for _, text in _objects(json.dumps(values or {}), kubernetes)]


def of_kind(kind: str, values: Mapping[str, Any] | None = None) -> dict[str, Object]:
    """Return the rendered objects of a kind by their names without the name of the release."""
    found = [json.loads(text) for each, text in _objects(json.dumps(values or {}), NEWEST) if each == kind]
    return {each["metadata"]["name"].removeprefix("demo-"): each for each in found}


def pods(rendered: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the name of each object that makes pods, and the pod: its metadata and its spec."""
    for each in rendered:
        if each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]
        elif each["kind"] == "Pod":
            yield each["metadata"]["name"], each
        elif each["kind"] == "RayService":
            cluster = each["spec"]["rayClusterConfig"]
            yield f"{each['metadata']['name']}-head", cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield f"{each['metadata']['name']}-{group['groupName']}", group["template"]


def environment(name: str, values: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the environment variables of a component's container."""
    container = of_kind("Deployment", values)[name]["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def pod_spec(name: str, values: Mapping[str, Any] | None = None) -> Object:
    """Return the specification of a component's pod."""
    return dict(of_kind("Deployment", values)[name]["spec"]["template"]["spec"])


@cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


@cache
def _ci_values(name: str) -> str:
    return json.dumps(yaml.load((CHART / "ci" / f"{name}.yaml").read_text(), YamlLoader))


@cache
def _objects(values: str, kubernetes: str) -> list[tuple[str, str]]:
    """Return the kind and the JSON of each object. Tests may change what they parse."""
    texts = [text for name, text in files(json.loads(values), kubernetes).items() if name.endswith(".yaml")]
    found = [each for text in texts for each in yaml.load_all(text, YamlLoader) if each]
    return [(each["kind"], json.dumps(each)) for each in found]
