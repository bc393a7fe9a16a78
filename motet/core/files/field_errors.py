"""The errors of named values: which name is unknown, and which known name is the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_MAX_COMPARED = 100
"""Maximum number of characters of a name that are compared. The time of a comparison is quadratic."""

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""The types of pydantic's errors for a name that a model, or a dataclass, does not have."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that is the most similar to a name, or "" if there is none."""
    return next(iter(difflib.get_close_matches(name[:_MAX_COMPARED], list(known), 1, 0)), "")


def message_of(error: ErrorDetails, schema: Any) -> str:
    """Return the message of an error of a value that `schema`, a model or an annotation, describes.

    For a key that `schema` does not have, it names the nearest key.
    """
    if error["type"] not in _UNKNOWN or not error["loc"]:
        return error["msg"]
    *place, key = error["loc"]
    for step in place:
        schema = _member(schema, step)
    nearest = nearest_name(str(key), _types_of(schema))
    return f"there is no such key{f'; the nearest is {nearest}' if nearest else ''}"


def _member(schema: Any, step: int | str) -> Any:
    """Return the annotation of a value inside a schema's value, or None if it is unknown."""
    schema = _without_wrappers(schema)
    if isinstance(step, str) and step in (types := _types_of(schema)):
        return types[step]
    origin, arguments = get_origin(schema), get_args(schema)
    return arguments[-1] if isinstance(origin, type) and issubclass(origin, Mapping | list) else None


def _types_of(schema: Any) -> dict[str, Any]:
    """Return the annotation of each field of a model or a dataclass, or nothing for another schema."""
    schema = _without_wrappers(schema)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return {name: field.annotation for name, field in schema.model_fields.items()}
    if isinstance(schema, type) and is_dataclass(schema):
        hints = get_type_hints(schema)
        return {field.name: hints[field.name] for field in fields(schema)}
    return {}


def _without_wrappers(schema: Any) -> Any:
    """Return an annotation without `Annotated` and without None."""
    while get_origin(schema) in (Annotated, Union, UnionType):
        schema = next(member for member in get_args(schema) if member is not NoneType)
    return schema
