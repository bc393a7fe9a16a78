"""The errors of objects under the strict schemas of Kubernetes and of custom resources."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from tests.deploy.chart import NEWEST, Object
from tests.deploy.crd_schemas import crd_validator

BUILT_IN = (
    "v1",
    "apps/v1",
    "autoscaling/v2",
    "batch/v1",
    "policy/v1",
    "networking.k8s.io/v1",
    "resource.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
)


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


def errors(each: Object, version: str = NEWEST) -> list[str]:
    """Return the errors of an object under a version of Kubernetes. Custom resources have one schema for all."""
    built_in = each["apiVersion"] in BUILT_IN
    schema = validator(each["kind"], each["apiVersion"], version) if built_in else crd_validator(*kind_of(each))
    found = schema.iter_errors(each)
    return [f"{each['kind']} {each['metadata']['name']}: {error.json_path}: {error.message}" for error in found]


def kind_of(each: Object) -> tuple[str, str]:
    """Return the API and the kind of an object."""
    return each["apiVersion"], each["kind"]
