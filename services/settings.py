"""Settings of every service. A setting is an option or an environment variable `MOTET_NAME`. The option comes first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnparsableError

from motet.core.errors import SettingsError
from motet.models.device import checked_device
from motet.models.dtype import DtypeSetting
from motet.transport.bounds.limits import CallLimits
from orchestrator.settings import MAX_SECONDS, MIN_SECONDS
from services.tracing.settings import TracingSettings

ADDRESS: JsonDict = {"metavar": "HOST:PORT"}
FILE: JsonDict = {"metavar": "FILE"}
GRACE = 30.0
"""Default time to finish running calls after SIGTERM, in seconds."""
MAX_CALLS = 1_000_000
"""Maximum of the limits of concurrent calls."""
_IGNORED_BY_TOYS = ("bundle", "threads", "device", "dtype")
LISTEN = "Address to serve on. Port 0 takes a free port."

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False, json_schema_extra={"metavar": "SECONDS"})]
Timeout = Annotated[
    float, Field(ge=MIN_SECONDS, le=MAX_SECONDS, allow_inf_nan=False, json_schema_extra={"metavar": "SECONDS"})
]
_LIMITS = CallLimits()
Model = TypeVar("Model", bound=BaseModel)


class BundleSettings(BaseSettings):
    """The bundle whose workers a process runs."""

    model_config = SettingsConfigDict(env_prefix="MOTET_", env_ignore_empty=True, frozen=True, extra="forbid")

    bundle: str = Field(
        "nano",
        description="Folder of a bundle, or the name of a bundle that ships with Motet.",
        json_schema_extra={"metavar": "DIR"},
    )
    threads: int = Field(1, ge=1, le=1024, description="Number of CPU threads of each worker.")
    toy: bool = Field(False, description="Use toy workers, which need no weights.")
    toy_delay: Seconds = Field(
        0.0,
        description="Duration of each token and each denoising step of a toy worker, in seconds.",
        json_schema_extra={"hidden": True},
    )


class ComputeSettings(BundleSettings):
    """A bundle, and the device and the dtype of its workers."""

    device: Annotated[str, AfterValidator(checked_device)] = Field(
        "auto", description="Device of each worker: auto (a GPU if present), cpu, cuda, cuda:NUMBER."
    )
    dtype: DtypeSetting = Field(
        "auto",
        description="Dtype of the networks: auto (that of their weights, on a CPU float32), float32, bfloat16, "
        "float16.",
    )


class ProcessSettings(BundleSettings):
    """The bundle of a process that serves, and the end of the process."""

    grace: Seconds = Field(GRACE, description="Maximum time to finish running calls after SIGTERM, in seconds.")


class ServiceSettings(TracingSettings, ProcessSettings):
    """Settings that the encoder, the language model, a decoder and the orchestrator share."""

    metrics: str = Field(
        "127.0.0.1:0",
        description="Address of the Prometheus metrics. Port 0 takes a free port.",
        json_schema_extra=ADDRESS,
    )
    background: bool = Field(False, description="Run at low CPU priority.")
    tls_cert: Path | None = Field(
        None,
        description="PEM file of the service's certificate, with intermediate ones. With it, connections use TLS.",
        json_schema_extra=FILE,
    )
    tls_key: Path | None = Field(None, description="PEM file of the private key of --tls-cert.", json_schema_extra=FILE)
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of the authorities of callers' certificates. With it, every caller needs a certificate.",
        json_schema_extra=FILE,
    )
    metrics_tls: Literal["off", "server", "mutual"] = Field(
        "off",
        description="TLS of the metrics: off, server (with --tls-cert), or mutual (callers need a certificate of "
        "--tls-client-ca).",
    )
    allow_insecure: bool = Field(
        False, description="Serve addresses beyond this machine without encryption or authentication."
    )
    allow_insecure_metrics: bool = Field(
        False,
        description="Serve the metrics and their /health beyond this machine without encryption or authentication. "
        "Calls still need both.",
    )
    allow_debuggers: bool = Field(
        False,
        description="Allow debuggers, profilers and core dumps of the service by its own user. "
        "Then a decoding child whose other layers are off could read the service's memory.",
    )
    require_confinement: bool = Field(
        False, description="Refuse to start unless all layers that confine the decoding of media are on."
    )
    reflection: bool = Field(
        True, description="Serve the API's schema to tools such as grpcurl, by gRPC server reflection."
    )
    max_open_calls: int = Field(
        _LIMITS.open_calls,
        ge=1,
        le=MAX_CALLS,
        description="Maximum number of calls whose response is not read completely. One tenant, or one connection "
        "without credentials, may have half. Calls beyond it are refused at once.",
    )
    send_timeout: Timeout = Field(
        _LIMITS.send_timeout,
        description="Maximum time for which a caller reads nothing of a streamed response, in seconds. Then the stream "
        "ends, and a generation that is not detached is cancelled.",
    )
    receive_timeout: Timeout = Field(
        _LIMITS.receive_timeout,
        description="Maximum time without a message of a streamed request, such as an upload, in seconds.",
    )
    min_receive_rate: float = Field(
        _LIMITS.min_receive_rate,
        gt=0,
        le=2**50,
        allow_inf_nan=False,
        description="Minimum average speed of a streamed request, in bytes per second.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum level of log lines.")
    log_level_file: Path | None = Field(
        None,
        description="File of the minimum levels of log lines, in place of the log level: one for all lines, and others "
        "for single loggers, such as 'info orchestrator.pool=debug'. A changed file is used within about a second.",
        json_schema_extra=FILE,
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        check_pair("--tls-cert", self.tls_cert, "--tls-key", self.tls_key)
        for option, needs in (
            ("--tls-client-ca", [] if self.tls_client_ca is None else ["tls_cert"]),
            ("--metrics-tls", {"off": [], "server": ["tls_cert"], "mutual": ["tls_client_ca"]}[self.metrics_tls]),
        ):
            for name in needs:
                if getattr(self, name) is None:
                    raise ValueError(f"{option} needs --{name.replace('_', '-')}: set it, too")
        return self

    @property
    def call_limits(self) -> CallLimits:
        """The limits of calls."""
        return CallLimits(self.max_open_calls, self.send_timeout, self.receive_timeout, self.min_receive_rate)


class WorkerSettings(ServiceSettings, ComputeSettings):
    """Settings that the encoder, the language model and a decoder share."""

    max_running: int = Field(8, ge=1, le=MAX_CALLS, description="Maximum number of calls that run at the same time.")
    max_queued: int = Field(
        32, ge=0, le=MAX_CALLS, description="Maximum number of calls in the queue. Calls beyond it are refused at once."
    )


def check_pair(first_option: str, first: object, second_option: str, second: object) -> None:
    """Raise `ValueError` if only one of two options is set that need each other."""
    for present, option, absent, missing in (
        (first, first_option, second, second_option),
        (second, second_option, first, first_option),
    ):
        if present is not None and absent is None:
            raise ValueError(f"{option} needs {missing}: set it, too")


def settings_of(kind: type[Model], options: Mapping[str, Any]) -> Model:
    """Return settings. An option takes precedence over the environment and over the default, unless it is None.

    Raises `SettingsError`, which names the first wrong setting, and for an option that has no effect with `--toy`.
    """
    if options.get("toy"):
        refuse_ignored("--toy", options, _IGNORED_BY_TOYS)
    try:
        return kind(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_message(kind, error.errors(include_url=False)[0])) from None
    except UnparsableError as error:
        raise SettingsError(_unparsable(kind, str(error))) from None


def refuse_ignored(option: str, typed: Mapping[str, Any], ignored: Iterable[str]) -> None:
    """Raise `SettingsError` if an option is typed that has no effect with another option."""
    for name in ignored:
        if typed.get(name) is not None:
            raise SettingsError(f"--{name.replace('_', '-')} has no effect with {option}: remove one of them")


def _message(kind: type[BaseModel], error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    name, *place = map(str, error["loc"])
    if error["type"] == "missing":
        return f"{_setting(kind, name)} is missing: set --{name.replace('_', '-')}"
    # The names of a union's members follow the place in the value, and are not part of it.
    within = f" at {place[0]!r}" if place and isinstance(error["input"], str | int | float) else ""
    return f"{_setting(kind, name)} is wrong{within}: {error['msg']}"


def _unparsable(kind: type[BaseModel], message: str) -> str:
    """Return the error for a variable that is not JSON. The library's message names the field."""
    name = next((name for name in kind.model_fields if f'"{name}"' in message), "")
    examples = kind.model_fields[name].examples if name else None
    example = f", such as '{json.dumps(examples[0])}'" if examples else ""
    return f"{_setting(kind, name)} is wrong: write JSON{example}"


def _setting(kind: type[BaseModel], name: str) -> str:
    if issubclass(kind, BaseSettings):
        return f"the setting {name} (MOTET_{name.upper()})"
    return f"--{name.replace('_', '-')}"
