"""Typer options: made from the fields of pydantic models, and shared by several commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Command = Callable[..., None]
Options = Mapping[str, tuple[Any, Any]]
"""The annotation and the default of each option, by its parameter name."""

_SCALARS = (bool, int, float, str, Path)


def path_of(value: str | Path) -> Path:
    """Return the path of an option's text. Raises `typer.BadParameter` for a text that can name no file."""
    # `Path("")` is the current folder, but an empty text is most likely a shell's variable without a value.
    if value == "":
        raise typer.BadParameter("the path is empty: name a file or a folder")
    if "\0" in str(value):
        raise typer.BadParameter("a path has no null character: remove it")
    return Path(value)


OUT = Path("motet-out")
"""The default folder of an answer's files."""

Json = Annotated[bool, typer.Option("--json", help="Write events as JSON lines, for programs.")]
Out = Annotated[
    Path,
    typer.Option(
        parser=path_of, metavar="DIR", help="Folder of the files. Numbers continue after the folder's highest."
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="ADDR",
        help="Address of an orchestrator. Without an address, Motet runs in this process. [env: MOTET_SERVER]",
    ),
]


def with_options(*groups: Options) -> Callable[[Command], Command]:
    """Replace a command's `**` parameter by options. The command gets their values in its `**` parameter."""

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        declared = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for options in groups
            for name, (annotation, default) in options.items()
        ]
        command.__signature__ = signature.replace(parameters=[*declared, *added])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in (*declared, *added)}
        return command

    return decorate


def options_of(model: type[BaseModel], only: Collection[str] = (), **spellings: str) -> Options:
    """Return an option for each field of a model, or for the fields in `only`. An option that is not typed is None.

    Each option has the field's description, default and bounds. `json_schema_extra` may set `metavar` and `hidden`.
    A field that is not a number, a text, a path or a flag becomes a repeatable text option, which the model parses.
    `spellings` maps a field's name to an option whose name differs from the field's.
    """
    prefix = model.model_config.get("env_prefix")
    return {
        name: _option(field, f"{prefix}{name.upper()}" if prefix else "", spellings.get(name))
        for name, field in model.model_fields.items()
        if not only or name in only
    }


def values_of(model: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that are fields of a model."""
    return {name: value for name, value in options.items() if name in model.model_fields}


def _option(field: FieldInfo, variable: str, spelling: str | None) -> tuple[Any, Any]:
    kind, metavar = _kind(field.annotation)
    extra: dict[str, Any] = {"metavar": metavar}
    if kind is Path:
        extra["parser"] = path_of
    if isinstance(field.json_schema_extra, dict):
        extra |= field.json_schema_extra
    for constraint in field.metadata:
        for option, bound in (("min", "ge"), ("max", "le")):
            if hasattr(constraint, bound):
                extra[option] = getattr(constraint, bound)
    notes = [f"env: {variable}"] if variable else []
    if default := _text_of(field.default):
        notes.append(f"default: {default}")
    text = f"{field.description or ''} [{'; '.join(notes)}]" if notes else field.description
    option = typer.Option(*([spelling] if spelling else []), help=text, **extra)
    return Annotated[kind | None, option], None


def _kind(annotation: Any) -> tuple[Any, str | None]:
    """Return the type and the metavar of a field's option."""
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _kind(members[0]) if len(members) == 1 else (list[str], None)
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return str, "|".join(get_args(annotation))
    if annotation in _SCALARS:
        return annotation, None
    origin = get_origin(annotation)
    return list[str], "KEY=VALUE" if isinstance(origin, type) and issubclass(origin, Mapping) else None


def _text_of(default: Any) -> str:
    """Return a default as text, or "" if help does not show it."""
    if isinstance(default, bool):
        return "yes" if default else ""
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default) if isinstance(default, int | float | str | Path) else ""
