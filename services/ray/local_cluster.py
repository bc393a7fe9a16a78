"""A cluster of Ray on this machine, for one deployment."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from motet.core.errors import FaultError, SettingsError
from motet.core.media import MEBI
from motet.transport.ray.log_lines import use_own_log_lines
from services.ray.settings import RayWorker
from services.terminal import print_status

_OBJECT_STORE_BYTES = 512 * MEBI
"""Size of Ray's store for values that are too large for a message, in bytes."""


@contextmanager
def local_cluster(workers_for: Callable[[float], Mapping[str, RayWorker]]) -> Iterator[None]:
    """Run a cluster of Ray, with an application for each worker. Call this in the main thread, before
    Ray is imported.

    `workers_for` returns the workers by the names of their applications, for the number of GPUs of this machine.

    The cluster listens on loopback addresses only, has no dashboard, and sends no usage data. Only processes with its
    token may use it: this process, and its later children, which find it by `RAY_ADDRESS`. All its processes end with
    this one.

    Raises `SettingsError` if Ray is not installed, and `FaultError` if the cluster or an application does not start.
    """
    _set_environment()
    try:
        import ray
        from ray import serve
    except ImportError:
        raise SettingsError("Ray is not installed: pip install 'motet[ray]'") from None
    use_own_log_lines()
    # Unlike the default folder, no other user can reach its sockets. The path of a socket has at most 107 bytes.
    with TemporaryDirectory(prefix="motet-ray-", dir="/tmp") as folder:
        print_status(f"Ray starts, with its log files in {folder}/session_latest/logs")
        try:
            try:
                context = ray.init(
                    num_cpus=1,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="error",
                    _temp_dir=folder,
                )
                os.environ["RAY_ADDRESS"] = context.address_info["gcs_address"]
                _deploy(workers_for(ray.cluster_resources().get("GPU", 0.0)))
            except Exception as error:
                # Ray raises errors of any class, some of them with the traceback of a replica in their text.
                raise FaultError(f"Ray did not start: {str(error).strip().splitlines()[-1]}") from error
            yield
        finally:
            # Without a connection, `serve.shutdown` would start another cluster.
            if ray.is_initialized():
                serve.shutdown()
                ray.shutdown()


def _set_environment() -> None:
    """Set the variables that Ray reads when it is imported, for this process and its children."""
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        # A user of a cluster executes code in it. Without a token, each user of this machine could.
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        # Ray's only setting that keeps a single node on loopback addresses. It also works on Linux.
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    )


def _deploy(workers: Mapping[str, RayWorker]) -> None:
    """Start the applications, and wait until their replicas have loaded."""
    from ray import serve

    from services.ray.worker import build

    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
    targets = [serve.RunTarget(build(worker), name=name, route_prefix=None) for name, worker in workers.items()]
    serve.run_many(targets)
    for name in workers:
        print_status(f"{name} is ready in Ray")
