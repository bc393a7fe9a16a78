"""Releases of the chart, found by the labels of their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.core.errors import SettingsError
from motet.core.files.field_errors import nearest_name
from services.cli.cluster.component import Component

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi, Json

APPLICATION = "app.kubernetes.io/name=motet"
"""The label, with its value, of all objects of the chart."""

RELEASE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the chart, with its components in the order of their names."""

    name: str
    namespace: str
    components: Sequence[Component]

    def component(self, name: str) -> Component:
        """Return the component of a name, or the only decoder of a modality. Raises `SettingsError`."""
        by_name = {each.name: each for each in self.components}
        if name in by_name:
            return by_name[name]
        decoders = [each for each in self.components if name and each.modality == name]
        if len(decoders) == 1:
            return decoders[0]
        if decoders:
            names = ", ".join(each.name for each in decoders)
            raise SettingsError(f"{name} has several decoders: name one of {names}")
        nearest = nearest_name(name, by_name)
        raise SettingsError(
            f"the release {self.name} has no component {name}: the nearest name is {nearest}; it has "
            f"{', '.join(by_name)}"
        )


async def find_release(api: ClusterApi, name: str | None) -> Release:
    """Return a release of the namespace, by default the only one. Raises `SettingsError`."""
    found = await api.list(f"/apis/apps/v1/namespaces/{api.namespace}/deployments", labelSelector=APPLICATION)
    releases = sorted({each["metadata"]["labels"].get(RELEASE_LABEL, "") for each in found})
    if name is None:
        if len(releases) > 1:
            raise SettingsError(
                f"the namespace {api.namespace} has several releases: set --release to one of {', '.join(releases)}"
            )
        name = next(iter(releases), None)
    if name is None:
        raise SettingsError(
            f"the namespace {api.namespace} has no release of Motet: set --namespace, or run `helm install`"
        )
    if name not in releases:
        known = f"it has {', '.join(releases)}" if releases else "it has none"
        raise SettingsError(
            f"the namespace {api.namespace} has no release {name}: {known}; set --release or --namespace"
        )
    own = [each for each in found if each["metadata"]["labels"].get(RELEASE_LABEL) == name]
    components = sorted((Component.of(each, _component_of(each)) for each in own), key=lambda each: each.name)
    return Release(name, api.namespace, components)


async def pods_of(api: ClusterApi, release: str, node: str = "") -> dict[str, list[Json]]:
    """Return the pods of a release by the names of their components, optionally only those on a node.

    The pods of `helm test` are left out: no controller owns them, and they end by themselves.
    """
    query = {"labelSelector": f"{APPLICATION},{RELEASE_LABEL}={release}"}
    if node:
        query["fieldSelector"] = f"spec.nodeName={node}"
    pods: dict[str, list[Json]] = {}
    for pod in await api.list(f"/api/v1/namespaces/{api.namespace}/pods", **query):
        if pod["metadata"].get("ownerReferences"):
            pods.setdefault(_component_of(pod), []).append(pod)
    return pods


def _component_of(labelled: Json) -> str:
    return str(labelled["metadata"]["labels"].get(COMPONENT_LABEL, ""))
