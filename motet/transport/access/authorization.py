"""The roles that may call each method. A method without a row here is refused, and no server starts with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from motet.core.caller import Caller, Role
from motet.core.errors import AccessError, FaultError, Reason

_GENERATIONS = "/motet.v1.GenerationService"
_ARTIFACTS = "/motet.v1.ArtifactService"
_MODELS = "/motet.v1.ModelService"
_QUOTAS = "/motet.v1.QuotaService"
_ENCODER = "/motet.internal.v1.EncoderService"
_LANGUAGE_MODEL = "/motet.internal.v1.LanguageModelService"
_DECODER = "/motet.internal.v1.DecoderService"
_WORKER = "/motet.internal.v1.WorkerService"
_SCALER = "/externalscaler.ExternalScaler"
_REFLECTION = "ServerReflection/ServerReflectionInfo"

_GENERATE = frozenset({Role.GENERATE})
_READ = frozenset({Role.READ})
_OPERATE = frozenset({Role.OPERATE})
_ORCHESTRATOR = frozenset({Role.ORCHESTRATOR})
_SCALE = frozenset({Role.SCALE, Role.OPERATE})
_ANY = frozenset(Role)
_NONE: frozenset[Role] = frozenset()

OPEN: frozenset[str] = frozenset(f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch"))
"""The methods that need no credentials. A probe of an orchestrator such as Kubernetes has none."""

ROLES: Mapping[str, frozenset[Role]] = {
    f"{_GENERATIONS}/Generate": _GENERATE,
    f"{_GENERATIONS}/WatchGeneration": _READ,
    f"{_GENERATIONS}/GetGeneration": _READ,
    f"{_GENERATIONS}/ListGenerations": _READ,
    f"{_GENERATIONS}/CancelGeneration": _GENERATE,
    f"{_ARTIFACTS}/UploadArtifact": _GENERATE,
    f"{_ARTIFACTS}/DownloadArtifact": _READ,
    f"{_ARTIFACTS}/DeleteArtifact": _GENERATE,
    f"{_MODELS}/ListModels": _ANY,
    f"{_MODELS}/GetModel": _ANY,
    f"{_QUOTAS}/GetQuota": _ANY,
    f"{_ENCODER}/Encode": _ORCHESTRATOR,
    f"{_LANGUAGE_MODEL}/Generate": _ORCHESTRATOR,
    f"{_DECODER}/Decode": _ORCHESTRATOR,
    f"{_DECODER}/DecodeChunked": _ORCHESTRATOR,
    f"{_WORKER}/WatchCapacity": _ORCHESTRATOR | _OPERATE,
    f"{_WORKER}/Drain": _OPERATE,
    f"{_SCALER}/IsActive": _SCALE,
    f"{_SCALER}/StreamIsActive": _SCALE,
    f"{_SCALER}/GetMetricSpec": _SCALE,
    f"{_SCALER}/GetMetrics": _SCALE,
    # The schema is public, but only authenticated callers may use the server's time.
    f"/grpc.reflection.v1.{_REFLECTION}": _ANY,
    f"/grpc.reflection.v1alpha.{_REFLECTION}": _ANY,
}
"""The roles that may call each method. A caller needs one of them."""


class MethodRegistry:
    """A gRPC server that records the paths of the methods that servicers register."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.methods: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Register handlers of any methods. Only handlers of a known list of methods are accepted."""
        for handler in handlers:
            # The class of `grpc.method_handlers_generic_handler` has the paths only here.
            self.methods.update(handler._method_handlers)
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Register the handlers of a service by the names of its methods."""
        self.methods.update(f"/{service}/{name}" for name in handlers)
        self._server.add_registered_method_handlers(service, handlers)


def check_listed(methods: Iterable[str]) -> None:
    """Raise `FaultError` for methods that `ROLES` and `OPEN` do not list."""
    unlisted = sorted(set(methods) - ROLES.keys() - OPEN)
    if unlisted:
        raise FaultError(
            f"the table of roles has no row for {', '.join(unlisted)}; add one to motet/transport/access",
            Reason.INTERNAL,
        )


def is_administrative(method: str) -> bool:
    """Return whether only operators may call a method. The audit log has such calls, also if they are refused."""
    return ROLES.get(method) == _OPERATE


def is_job(method: str) -> bool:
    """Return whether only orchestrators may call a method. Such a call is a job of a worker, and ends by itself."""
    return ROLES.get(method) == _ORCHESTRATOR


def check_role(caller: Caller, method: str) -> None:
    """Raise `AccessError` unless the caller has a role that may call the method."""
    allowed = ROLES.get(method, _NONE)
    if not allowed & caller.roles:
        roles = ", ".join(sorted(allowed))
        raise AccessError(
            f"this method needs a role that these credentials lack: {roles or 'no role has it'}; use other credentials",
            Reason.ROLE_MISSING,
            {"roles": roles},
        )
