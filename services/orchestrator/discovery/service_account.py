"""The service account of a pod, and connections to the API server of its cluster."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motet.core.errors import SettingsError

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, DiscoveryV1Api


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The files of a service account: its token, which Kubernetes replaces, its namespace, and the cluster's authority.

    The environment has the address of the API server, as KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
    """

    folder: Path

    def check(self) -> None:
        """Raise `SettingsError` if this process is not in a pod with a service account, or lacks the client library."""
        try:
            import kubernetes.aio.client  # noqa: F401
        except ImportError:
            raise SettingsError(
                "the scheme kubernetes needs a library: install motet[kubernetes], or write dns:///HOST:PORT"
            ) from None
        if not self.exists():
            raise SettingsError(
                "the scheme kubernetes works only in a pod with the token of a service account: set its "
                "automountServiceAccountToken, or write dns:///HOST:PORT"
            )

    def exists(self) -> bool:
        """Return whether this process is in a pod with a service account."""
        return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (self.folder / "token").is_file()

    @property
    def namespace(self) -> str:
        """The namespace of the pod. Raises `SettingsError`."""
        try:
            return (self.folder / "namespace").read_text().strip()
        except OSError:
            raise SettingsError(
                "the namespace of this pod is unknown: write kubernetes://NAMESPACE/SERVICE:PORT"
            ) from None

    def client(self) -> ApiClient:
        """Return a client of the API server, for the caller to close. It reads the token again every minute.

        Raises `OSError` for files that cannot be read.
        """
        from kubernetes.aio.client import ApiClient, Configuration
        from kubernetes.aio.config import ConfigException
        from kubernetes.aio.config.incluster_config import InClusterConfigLoader

        configuration = Configuration()
        try:
            InClusterConfigLoader(str(self.folder / "token"), str(self.folder / "ca.crt")).load_and_set(configuration)
        except ConfigException as error:
            raise OSError(str(error)) from None
        return ApiClient(configuration)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[DiscoveryV1Api]:
        """Yield the API of EndpointSlices. Raises `OSError` for files that cannot be read."""
        from kubernetes.aio.client import DiscoveryV1Api

        async with self.client() as client:
            yield DiscoveryV1Api(client)


POD_ACCOUNT = ServiceAccount(Path("/var/run/secrets/kubernetes.io/serviceaccount"))
"""The service account in the folder that Kubernetes mounts into a pod."""
