"""Command line options for attached files, one for each modality that Motet can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.core.media import Media
from motet.media.kinds import MODALITIES

ATTACHING: Mapping[str, tuple[Any, Any]] = {
    modality: (
        Annotated[
            list[Path] | None,
            typer.Option(f"--{modality}", metavar="FILE", help=f"Attach {modality}; may be given again."),
        ],
        None,
    )
    for modality in dict.fromkeys(MODALITIES.values())
}


def attached_media(given: Mapping[str, Any], anything: Sequence[Path] | None) -> list[Media]:
    """The files that such options name, and others, read. Raises `MediaError`, naming one that cannot be attached."""
    from services.attachment import read_attachment

    named = [read_attachment(path, modality) for modality in ATTACHING for path in given[modality] or ()]
    return [*named, *(read_attachment(path) for path in anything or ())]
