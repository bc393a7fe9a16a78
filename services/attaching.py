"""Command line options for attached files, one for each modality that Motet can read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.core.media import Media
from motet.media.kinds import MODALITIES

Files = list[Path] | None


def attaching(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with a parameter `**attached` an option for each modality, as typer reads signatures."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    named = [
        inspect.Parameter(
            modality,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Files, typer.Option(f"--{modality}", metavar="FILE", help=f"Attach {modality}; may be given again.")
            ],
        )
        for modality in dict.fromkeys(MODALITIES.values())
    ]
    command.__signature__ = signature.replace(parameters=[*kept, *named])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*kept, *named)}
    return command


def attached_media(attached: Mapping[str, Any], anything: Sequence[Path] | None) -> list[Media]:
    """The files of all such options, read. Raises `MediaError`, naming the file that cannot be attached."""
    from services.attachment import read_attachment

    named = [read_attachment(path, modality) for modality, paths in attached.items() for path in paths or ()]
    return [*named, *(read_attachment(path) for path in anything or ())]
