"""The documents by which an API server describes its kinds: groups, resources, and OpenAPI as far as Helm reads it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.deploy.chart import Object

KINDS: Mapping[str, Mapping[str, str]] = {
    "v1": {
        "ConfigMap": "configmaps",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Pod": "pods",
        "Secret": "secrets",
        "Service": "services",
        "ServiceAccount": "serviceaccounts",
    },
    "apps/v1": {"Deployment": "deployments", "ReplicaSet": "replicasets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "batch/v1": {"Job": "jobs"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
    "rbac.authorization.k8s.io/v1": {"Role": "roles", "RoleBinding": "rolebindings"},
    "resource.k8s.io/v1": {"ResourceClaimTemplate": "resourceclaimtemplates"},
    "cert-manager.io/v1": {"Certificate": "certificates", "Issuer": "issuers"},
    "keda.sh/v1alpha1": {"ScaledObject": "scaledobjects", "TriggerAuthentication": "triggerauthentications"},
    "monitoring.coreos.com/v1": {"PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"},
    "gateway.networking.k8s.io/v1": {"GRPCRoute": "grpcroutes"},
    "ray.io/v1": {"RayService": "rayservices"},
}
"""The plural name of each kind, by API version. All are in a namespace."""

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def groups() -> Object:
    """Return the list of API groups."""
    versions = [{"groupVersion": api, "version": api.split("/")[1]} for api in KINDS if "/" in api]
    found = [
        {"name": each["groupVersion"].split("/")[0], "versions": [each], "preferredVersion": each} for each in versions
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resources(api: str) -> Object:
    """Return the resources of an API version."""
    found = [
        {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": _VERBS}
        for kind, plural in KINDS.get(api, {}).items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": found}


def openapi_paths() -> Object:
    """Return the addresses of the OpenAPI documents."""
    return {"paths": {_prefix(api): {"serverRelativeURL": f"/openapi/v3/{_prefix(api)}"} for api in KINDS}}


def openapi(api: str) -> Object:
    """Return an OpenAPI document without schemas. It states that patches are validated."""
    group, _, version = api.rpartition("/")
    paths = {
        f"/{_prefix(api)}/namespaces/{{namespace}}/{plural}/{{name}}": {
            "patch": {
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
                "responses": {},
            }
        }
        for kind, plural in KINDS.get(api, {}).items()
    }
    return {"openapi": "3.0.0", "info": {"title": "double", "version": "0"}, "paths": paths}


def _prefix(api: str) -> str:
    return f"apis/{api}" if "/" in api else "api/v1"
