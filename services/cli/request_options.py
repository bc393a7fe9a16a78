"""Options of a request, from the command line to `GenerationRequest`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from motet.answers.options import decoder_options_of
from motet.core.errors import RequestError, SettingsError
from motet.core.events import TEXT
from motet.core.request import MAX_TIMEOUT, MIN_TIMEOUT, PRIORITIES, GenerationRequest, Message
from services.cli.checks.paths import check_folder
from services.pairs import pairs
from services.settings import settings_of

_NUMBER = "MODALITY=NUMBER"


def _names(typed: object) -> object:
    """Return the names in a list of comma-separated strings. Any other value passes unchanged."""
    if not isinstance(typed, list | tuple):
        return typed
    return {name.strip() for names in typed for name in names.split(",") if name.strip()}


class RequestOptions(BaseModel):
    """Options of `motet run` and `motet chat` for each request. None is the default of the model or the server."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    only: Annotated[frozenset[str], BeforeValidator(_names)] | None = Field(
        None,
        description="Allowed output modalities, comma-separated. 'text' allows no media.",
        json_schema_extra={"metavar": "MODALITIES"},
    )
    steps: Annotated[Mapping[str, int], pairs(_NUMBER)] = Field(
        {}, description="Number of denoising steps of a modality.", json_schema_extra={"metavar": "M=N"}
    )
    guidance: Annotated[Mapping[str, float], pairs(_NUMBER, whole=False)] = Field(
        {}, description="Guidance scale of a modality. 1 is no guidance.", json_schema_extra={"metavar": "M=X"}
    )
    timeout: float | None = Field(
        None,
        ge=MIN_TIMEOUT,
        le=MAX_TIMEOUT,
        description="Time limit of a request, in seconds.",
        json_schema_extra={"metavar": "SECONDS"},
    )
    min_steps: Annotated[Mapping[str, int], pairs(_NUMBER)] = Field(
        {},
        description="Minimum number of denoising steps of a modality, if the timeout does not allow all steps.",
        json_schema_extra={"metavar": "M=N"},
    )
    seed: int | None = Field(
        None, ge=0, le=2**64 - 1, description="Seed. The same seed gives the same files. Default: a random seed."
    )
    priority: int = Field(
        0, ge=PRIORITIES[0], le=PRIORITIES[-1], description="Priority, from -2 (lowest) to 2 (highest)."
    )

    def check_output(self, folder: Path) -> None:
        """Raise `RequestError` if the answer may have media and the folder cannot hold them."""
        if self.only is None or self.only - {TEXT}:
            check_folder(folder)

    def request(self, messages: Sequence[Message]) -> GenerationRequest:
        """Return the request for the answer to a conversation."""
        return GenerationRequest(
            tuple(messages),
            allowed_modalities=None if self.only is None else self.only - {TEXT},
            seed=self.seed,
            timeout=self.timeout,
            decoder_options=decoder_options_of(self.steps, self.guidance, self.min_steps),
            priority=self.priority,
        )


def request_options_of(options: Mapping[str, Any]) -> RequestOptions:
    """Return request options from typed options: comma-separated names, and MODALITY=NUMBER pairs.

    Raises `RequestError`, which names the option.
    """
    try:
        return settings_of(RequestOptions, options)
    except SettingsError as error:
        raise RequestError(error.message) from None


def prompt_of(argument: str) -> str:
    """Return the prompt. "-" reads it from standard input. Raises `RequestError` for bytes that are not UTF-8."""
    try:
        if argument == "-":
            return sys.stdin.buffer.read().decode()
        # Python replaces bytes of an argument that are not UTF-8 by surrogates, which `encode` refuses.
        return argument.encode().decode()
    except UnicodeError:
        raise RequestError("the prompt is not UTF-8: give it as text") from None
