"""The schemas of custom resources in the folder schemas.

The models of `cloudcoil` take 9 s to import and accept unknown keys. The schemas take milliseconds and refuse them.
To write those of the models: python -m tests.deploy.crd_schemas
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

FOLDER = Path(__file__).parent / "schemas"
MODELS = {
    ("cert-manager.io/v1", "Certificate"): "cloudcoil.models.cert_manager",
    ("cert-manager.io/v1", "Issuer"): "cloudcoil.models.cert_manager",
    ("keda.sh/v1alpha1", "ScaledObject"): "cloudcoil.models.keda",
    ("keda.sh/v1alpha1", "TriggerAuthentication"): "cloudcoil.models.keda",
    ("monitoring.coreos.com/v1", "PodMonitor"): "cloudcoil.models.prometheus_operator",
    ("monitoring.coreos.com/v1", "PrometheusRule"): "cloudcoil.models.prometheus_operator",
}
"""The distribution of the model of each kind. The model is in its module of the API's version."""
OWN = {("gateway.networking.k8s.io/v1", "GRPCRoute"), ("ray.io/v1", "RayService")}
"""The kinds without a model, whose schemas are written by hand: they have the fields that the chart may set."""


@cache
def crd_validator(api_version: str, kind: str) -> Draft202012Validator:
    """Return the validator of a custom resource. Unknown keys are errors. Raises `KeyError` for a kind without one."""
    if (api_version, kind) not in {*MODELS, *OWN}:
        raise KeyError(f"{api_version} {kind} has no schema: add it to MODELS or OWN of {__file__}")
    return Draft202012Validator(json.loads(path_of(kind).read_text()))


def path_of(kind: str) -> Path:
    """Return the file of a kind's schema."""
    return FOLDER / f"{kind.lower()}.json"


def source_of(distribution: str) -> str:
    """Return the name and the version of the distribution of a model, which its schema has as a comment."""
    return f"{distribution} {version(distribution)}"


def schema_of(api_version: str, kind: str) -> Schema:
    """Return the strict schema of a kind's model, without descriptions."""
    from cloudcoil.models.cert_manager import v1 as cert_manager
    from cloudcoil.models.keda import v1alpha1 as keda
    from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

    distribution = MODELS[api_version, kind]
    modules = {
        "cloudcoil.models.cert_manager": cert_manager,
        "cloudcoil.models.keda": keda,
        "cloudcoil.models.prometheus_operator": prometheus_operator,
    }
    schema = getattr(modules[distribution], kind).model_json_schema()
    return {"$comment": source_of(distribution), **strict(schema)}


def strict(schema: Any, names: bool = False) -> Any:
    """Return a schema whose objects allow no other keys and whose optional values are not null.

    `names` is true if the keys of `schema` are names instead of keywords.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = () if names else ("description", "title", "default")
    inner = {
        key: strict(value, names=not names and key in ("properties", "$defs"))
        for key, value in schema.items()
        if key not in dropped
    }
    if names:
        return inner
    match inner.pop("anyOf", None):
        case [value, {"type": "null"}]:
            inner |= value
        case None:
            pass
        case others:
            inner["anyOf"] = others
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


if __name__ == "__main__":
    for key in MODELS:
        path_of(key[1]).write_text(json.dumps(schema_of(*key), separators=(",", ":"), sort_keys=True) + "\n")
