"""The autoscalers of a component, which would change its number of pods back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.cli.cluster.api import ApiStatusError

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi, Json

_HORIZONTAL = "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
_KEDA = "/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"


async def autoscalers_of(api: ClusterApi, deployment: str) -> Sequence[str]:
    """Return the kind and the name of each autoscaler whose target is a Deployment."""
    found = [
        f"HorizontalPodAutoscaler {each['metadata']['name']}"
        for each in await api.list(_HORIZONTAL.format(namespace=api.namespace))
        if _targets(each, deployment)
    ]
    try:
        scaled = await api.list(_KEDA.format(namespace=api.namespace))
    except ApiStatusError as error:
        # The cluster has no KEDA.
        if error.status != 404:
            raise
        scaled = []
    return [f"ScaledObject {each['metadata']['name']}" for each in scaled if _targets(each, deployment)] + found


def _targets(autoscaler: Json, deployment: str) -> bool:
    target = autoscaler["spec"]["scaleTargetRef"]
    # A ScaledObject without a kind scales a Deployment.
    return (target.get("kind", "Deployment"), target["name"]) == ("Deployment", deployment)
