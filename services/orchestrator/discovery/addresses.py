"""The addresses of workers in the settings."""

from __future__ import annotations

import re

from motet.core.errors import SettingsError
from motet.transport.channel import checked_address
from motet.transport.ray.address import application_of, is_in_ray
from services.orchestrator.discovery.dns import DnsSource
from services.orchestrator.discovery.endpoint import Endpoint, EndpointSource
from services.orchestrator.discovery.kubernetes_service import KubernetesSource
from services.orchestrator.discovery.service_account import ServiceAccount

_DNS = re.compile(r"dns:(?://(?P<server>[^/]*)/)?(?P<host>\[[^]]+\]|[^:/]+):(?P<port>\d+)")


_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_KUBERNETES = re.compile(rf"kubernetes://(?P<namespace>{_LABEL})?/(?P<service>{_LABEL}):(?P<port>[a-z0-9-]{{1,15}})")


def endpoint_or_source(address: str, dns_interval: float, account: ServiceAccount) -> Endpoint | EndpointSource:
    """Return the endpoint at an address, or the source that an address with the scheme dns or kubernetes names.

    The replicas of an application of Ray are one endpoint, because Ray balances their calls.

    A DNS name is resolved every `dns_interval` seconds. `account` is for the API server of Kubernetes. Raises
    `SettingsError` for anything else than an address, and for the scheme kubernetes outside of a pod.
    """
    if address.startswith("kubernetes:"):
        return _kubernetes_source(address, account)
    if is_in_ray(address):
        application_of(address)
        return Endpoint(address)
    if not address.startswith("dns:"):
        return Endpoint(checked_address(address))
    matched = _DNS.fullmatch(address)
    if matched is None or matched["server"] or not 0 < int(matched["port"]) <= 65535:
        raise SettingsError(
            f"{address!r} is not the address of workers: write dns:///HOST:PORT, without a DNS server",
            metadata={"address": address},
        )
    return DnsSource(matched["host"], int(matched["port"]), dns_interval)


def _kubernetes_source(address: str, account: ServiceAccount) -> KubernetesSource:
    matched = _KUBERNETES.fullmatch(address)
    if matched is None:
        raise SettingsError(
            f"{address!r} is not the address of a Service: write kubernetes://NAMESPACE/SERVICE:PORT, with the name "
            "or the number of a port",
            metadata={"address": address},
        )
    account.check()
    return KubernetesSource(account, matched["namespace"] or account.namespace, matched["service"], matched["port"])
