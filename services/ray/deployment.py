"""The deployment of `motet up --ray`: Ray runs the workers, and the orchestrator is a process beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from motet.transport.ray.address import address_of, application_of
from services.ray.settings import RayWorker
from services.up.deployment import ENCODER, LANGUAGE_MODEL, ORCHESTRATOR, Deployment


@dataclass(frozen=True, slots=True)
class RayDeployment(Deployment):
    """A deployment whose workers are applications of Ray Serve."""

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Return the same deployment with its workers in Ray."""
        return cls(**{field.name: getattr(deployment, field.name) for field in fields(deployment)})

    def workers(self) -> Mapping[str, list[str]]:
        """Return no processes: Ray runs the workers."""
        return {}

    def orchestrator(self, addresses: Mapping[str, str]) -> list[str]:
        """Return the arguments of `motet serve` for the orchestrator of the applications."""
        workers = [f"--encoder={_address(ENCODER)}", f"--language-model={_address(LANGUAGE_MODEL)}"]
        workers += [f"--decoder={modality}={_address(modality)}" for modality in self.manifest.signals]
        return [ORCHESTRATOR, "--listen", f"127.0.0.1:{self.port}", *workers, *self._common(0)]

    def can_serve(self, lost: set[str]) -> bool:
        """Return whether the orchestrator runs."""
        return ORCHESTRATOR not in lost

    def ray_workers(self, gpus: float = 0.0) -> Mapping[str, RayWorker]:
        """Return the worker of each application. All replicas share `gpus` GPUs equally."""
        keys = (ENCODER, LANGUAGE_MODEL, *self.manifest.signals)
        share = gpus / sum(self.replicas.get(key, 1) for key in keys)
        # Ray counts GPUs in units of 1/10,000.
        share = min(1.0, int(share * 10_000) / 10_000)
        return {application_of(_address(key)): self._worker(key, share) for key in keys}

    def _worker(self, key: str, gpu_share: float) -> RayWorker:
        is_decoder = key not in (ENCODER, LANGUAGE_MODEL)
        replicas = self.replicas.get(key, 1)
        return RayWorker.model_validate(
            {
                "kind": "decoder" if is_decoder else key,
                "modality": key if is_decoder else "",
                "min_replicas": replicas,
                "max_replicas": replicas,
                # All processes share the CPUs of this machine, as those of a deployment without Ray do.
                "num_cpus": 0,
                "num_gpus": gpu_share,
                "grace": self.grace,
                "options": self._options() | {"background": is_decoder and self.background},
            }
        )

    def _options(self) -> dict[str, Any]:
        log_level = os.environ.get("MOTET_LOG_LEVEL", self.log_level)
        if self.toy:
            return {"toy": True, "toy_delay": self.toy_delay, "log_level": log_level}
        # A relative folder would begin at the working directory of Ray's processes.
        bundle = os.path.abspath(self.bundle) if os.path.isdir(self.bundle) else self.bundle
        return {"bundle": bundle, "threads": self.threads, "log_level": log_level}


def _address(key: str) -> str:
    return address_of(f"motet-{key}")
