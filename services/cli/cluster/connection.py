"""Connections to the API server that a kubeconfig names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet.core.errors import FaultError, SettingsError
from services.cli.checks.paths import check_input
from services.cli.cluster.api import ClusterApi
from services.orchestrator.discovery.service_account import POD_ACCOUNT, ServiceAccount

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

_DEFAULT = "~/.kube/config"

_MAX_CONNECTIONS = 4
"""Maximum number of connections to an API server. Requests beyond it wait."""


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """The cluster and the namespace of a command. None stands for the kubeconfig's own value.

    Without `kubeconfig`, the files of the variable KUBECONFIG or ~/.kube/config count, and in a pod without these the
    account of the pod.
    """

    namespace: str | None = None
    context: str | None = None
    kubeconfig: Path | None = None

    def files(self) -> str:
        """Return the paths of the kubeconfig files, with colons between them, or "" if there are none."""
        if self.kubeconfig is not None:
            check_input(self.kubeconfig)
            return str(self.kubeconfig)
        listed = os.environ.get("KUBECONFIG") or _DEFAULT
        return listed if any(Path(each).expanduser().is_file() for each in listed.split(os.pathsep) if each) else ""


@asynccontextmanager
async def connect(target: ClusterTarget, account: ServiceAccount = POD_ACCOUNT) -> AsyncIterator[ClusterApi]:
    """Yield a client of the target's cluster.

    Raises `SettingsError` for a kubeconfig that cannot be used, and if the client library is not installed.
    An object of the server that has not the form of the API becomes a `FaultError`.
    """
    try:
        from kubernetes.aio.client import ApiClient
    except ImportError:
        raise SettingsError("kubernetes is not installed: pip install 'motet[kubernetes]'") from None

    if files := target.files():
        configuration, name, own_namespace = await _configuration(files, target.context)
        client = ApiClient(configuration)
        namespace = target.namespace or own_namespace
    elif target.context is None and account.exists():
        try:
            client = account.client()
        except OSError as error:
            raise SettingsError(f"the service account of this pod cannot be used: {error}; set --kubeconfig") from None
        name, namespace = "the pod's account", target.namespace or account.namespace
    else:
        raise SettingsError(
            f"there is no kubeconfig: set --kubeconfig or KUBECONFIG to one, or write {_DEFAULT}, as the tool of your "
            "cluster's provider does"
        )
    async with client:
        try:
            yield ClusterApi(client, namespace, name)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FaultError(f"the API server sent an unexpected object: {error!r}") from error


async def _configuration(files: str, context: str | None) -> tuple[Configuration, str, str]:
    """Return the configuration of a context of kubeconfig files, the context's name, and its namespace."""
    import yaml
    from kubernetes.aio.client import ApiClient, Configuration
    from kubernetes.aio.config import ConfigException
    from kubernetes.aio.config.kube_config import load_kube_config

    configuration = Configuration()
    configuration.connection_pool_maxsize = _MAX_CONNECTIONS
    try:
        loader = await load_kube_config(
            files, context=context, client_configuration=configuration, persist_config=False
        )
        current: dict[str, Any] = loader.current_context
        namespace = current["context"].get("namespace") or "default"
        # A client reads the certificates.
        await ApiClient(configuration).close()
    except (ConfigException, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        raise SettingsError(f"the kubeconfig {files} cannot be used: {line}; correct it, or choose another") from None
    return configuration, f"the context {current['name']}", str(namespace)
