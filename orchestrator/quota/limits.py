"""The limits of a tenant, which the operator writes into a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from motet.core.caller import QUOTA_CLASS
from motet.core.errors import BundleError, SettingsError
from motet.core.files.field_errors import message_of, nearest_name
from motet.core.files.strict_yaml import parse_yaml

DEFAULT_CLASS = "default"
"""The class of callers whose credentials name none."""

Rate = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
ClassName = Annotated[str, Field(pattern=QUOTA_CLASS, min_length=1)]


class QuotaLimits(BaseModel):
    """The limits of each tenant of a class. None and a modality that is absent have no limit.

    A rate is per minute, and a tenant that used nothing may use the amount of one minute at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    running_generations: Annotated[int, Field(ge=1)] | None = None
    generations_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    """Tokens of prompts and answers."""
    decoder_seconds_per_minute: dict[str, Rate] = {}
    """Predicted seconds of denoising, by modality."""
    encoder_seconds_per_minute: Rate | None = None
    """Predicted seconds of the encoder, for the media in prompts."""
    artifact_bytes: Annotated[int, Field(ge=1)] | None = None
    """Bytes of uploads and results that are kept."""


UNLIMITED = QuotaLimits()

QuotaClasses = Mapping[str, QuotaLimits]
"""Limits by the name of the class."""

_NO_CLASSES: QuotaClasses = {}


def no_quotas() -> QuotaClasses:
    """Return no classes: nothing is limited."""
    return _NO_CLASSES


_CLASSES: TypeAdapter[dict[str, QuotaLimits]] = TypeAdapter(dict[ClassName, QuotaLimits])


def parse_quota_classes(data: bytes, label: str, modalities: Collection[str]) -> QuotaClasses:
    """Return the classes of a YAML document. `modalities` are those that the deployment's model generates.

    Raises `SettingsError`, which names the file by `label` and the entry. A limit of another modality, which would have
    no effect, is such an error.
    """
    try:
        classes = _CLASSES.validate_python(parse_yaml(data, label))
    except BundleError as error:
        raise SettingsError(error.message) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise SettingsError(f"{label}: {place} is wrong: {message_of(first, dict[str, QuotaLimits])}") from None
    for name, limits in classes.items():
        for modality in limits.decoder_seconds_per_minute:
            if modality not in modalities:
                nearest = nearest_name(modality, modalities)
                place = f"{name}.decoder_seconds_per_minute.{modality}"
                raise SettingsError(
                    f"{label}: {place} is wrong: the model does not generate it; the nearest is {nearest}"
                )
    return classes
