"""What every service can be told. `MOTET_THREADS=4` in the environment sets `threads`; the command line comes first."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from motet.core.errors import SettingsError

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
S = TypeVar("S", bound=BaseSettings)


class ServiceSettings(BaseSettings):
    """What an encoder, a language model, a decoder and an orchestrator have in common."""

    model_config = SettingsConfigDict(env_prefix="MOTET_", frozen=True, extra="forbid")

    bundle: str = Field("nano", description="The folder of a bundle, or the name of one that ships with Motet.")
    metrics: str = Field("127.0.0.1:0", description="Address that Prometheus reads; port 0 takes a free one.")
    threads: Annotated[int, Field(ge=1)] = Field(1, description="Threads that the worker computes on.")
    background: bool = Field(False, description="Leave the processors to whatever else wants them: be nice, as `nice`.")
    grace: Seconds = Field(30.0, description="Seconds to finish what was begun, once told to stop.")
    anywhere: bool = Field(False, description="Serve beyond this machine although nothing is encrypted.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    toy: bool = Field(False, description="Serve a worker without weights.")
    toy_delay: Seconds = Field(0.0, description="Seconds that a toy takes for each token or step.")


class WorkerSettings(ServiceSettings):
    """What an encoder, a language model and a decoder have in common."""

    max_running: Annotated[int, Field(ge=1)] = Field(8, description="Calls that are worked on at a time.")
    max_queued: Annotated[int, Field(ge=0)] = Field(32, description="Calls that wait; more are refused at once.")
    device: str = Field("auto", description='"cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one.')


def settings_of(kind: type[S], given: dict[str, Any]) -> S:
    """Settings from the environment, and over it what was given; None was not given.

    Raises `SettingsError`, naming the first setting that cannot be used.
    """
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise SettingsError(f"the setting {name} (MOTET_{name.upper()}) is wrong: {first['msg']}") from None
