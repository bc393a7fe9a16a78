"""The values of one worker in Ray Serve."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.settings import GRACE, MAX_CALLS

_Replicas = Annotated[int, Field(ge=0, le=4096)]
_Delay = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1024, allow_inf_nan=False)]

_HEALTH_CHECK_PERIOD = 2.0
"""Interval in which Ray looks for replicas that ended, in seconds. Its own number is 10."""

_SHUTDOWN_POLL_INTERVAL = 0.5
"""Interval in which a replica that stops looks at its running calls, in seconds. Ray's own number is 2."""


_MAX_STARTS = 3
"""Number of replicas that fail to load, after which Ray starts no more. Its own number is 20."""


class RayWorker(BaseModel):
    """The replicas of a worker in Ray Serve: their number, their resources, and the settings of the worker.

    Ray changes the number of replicas between `min_replicas` and `max_replicas` so that each has
    `target_ongoing_requests` calls on average, those that wait for a replica included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["encoder", "llm", "decoder"] = Field(description="Kind of the worker.")
    modality: str = Field("", description="Modality of a decoder's media.")
    min_replicas: _Replicas = Field(1, description="Minimum number of replicas. With 0, the first call starts one.")
    max_replicas: Annotated[int, Field(ge=1, le=4096)] = Field(1, description="Maximum number of replicas.")
    max_running: Annotated[int, Field(ge=1, le=MAX_CALLS)] = Field(
        8, description="Maximum number of calls that a replica runs at the same time."
    )
    target_ongoing_requests: Annotated[float, Field(gt=0, le=MAX_CALLS, allow_inf_nan=False)] = Field(
        4.0, description="Calls of a replica on average, to which Ray scales. At most `max_running`."
    )
    max_queued_requests: Annotated[int, Field(ge=1, le=MAX_CALLS)] = Field(
        1000, description="Maximum number of calls of one orchestrator that wait for a replica. Others are refused."
    )
    upscale_delay_s: _Delay = Field(10.0, description="Time of a higher load before replicas start, in seconds.")
    downscale_delay_s: _Delay = Field(600.0, description="Time of a lower load before replicas stop, in seconds.")
    num_cpus: _Share = Field(1.0, description="CPUs that Ray reserves for a replica.")
    num_gpus: _Share = Field(0.0, description="GPUs that Ray reserves for a replica, such as 0.25.")
    memory: Annotated[int, Field(ge=0, le=2**50)] = Field(0, description="Memory that Ray reserves, in bytes.")
    resources: dict[str, _Share] = Field({}, description="Custom resources of Ray, such as those of a group of nodes.")
    grace: _Delay = Field(GRACE, description="Maximum time to finish running calls when a replica stops, in seconds.")
    options: dict[str, Any] = Field({}, description="Settings of the worker, as the options of `motet serve`.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.kind == "decoder") is not bool(self.modality):
            raise ValueError("a decoder needs a modality, and no other kind of worker has one")
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas is above max_replicas: {self.min_replicas} > {self.max_replicas}")
        if self.scales and self.target_ongoing_requests > self.max_running:
            raise ValueError("target_ongoing_requests is above max_running: no load would start another replica")
        if reserved := self.options.keys() & {"modality", "max_running", "grace", "listen", "metrics"}:
            raise ValueError(
                f"options cannot have {', '.join(sorted(reserved))}: set the field beside it, if there is one"
            )
        return self

    @property
    def scales(self) -> bool:
        """True if Ray changes the number of replicas."""
        return self.min_replicas != self.max_replicas

    def service_options(self) -> dict[str, Any]:
        """Return the options of the worker's service."""
        modality = {"modality": self.modality} if self.modality else {}
        return {**self.options, **modality, "max_running": self.max_running, "grace": self.grace}

    def deployment_options(self) -> dict[str, Any]:
        """Return the options of Ray Serve's deployment."""
        scaling: dict[str, Any] = {"num_replicas": self.min_replicas}
        if self.scales:
            fields = ("min_replicas", "max_replicas", "target_ongoing_requests", "upscale_delay_s", "downscale_delay_s")
            scaling = {"autoscaling_config": self.model_dump(include=set(fields))}
        actor: dict[str, Any] = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}
        if self.memory:
            actor["memory"] = self.memory
        if self.resources:
            actor["resources"] = self.resources
        return {
            **scaling,
            "ray_actor_options": actor,
            "max_ongoing_requests": self.max_running,
            "max_queued_requests": self.max_queued_requests,
            "max_constructor_retry_count": _MAX_STARTS,
            "health_check_period_s": _HEALTH_CHECK_PERIOD,
            "graceful_shutdown_wait_loop_s": _SHUTDOWN_POLL_INTERVAL,
            "graceful_shutdown_timeout_s": self.grace,
        }
