"""Command line options for attached files, one for each modality that Motet can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.media.kinds import MODALITIES
from services.cli.attachment import Attachment, read_attachment

ATTACH_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    modality: (
        Annotated[
            list[Path] | None,
            typer.Option(f"--{modality}", metavar="FILE", help=f"Attach {modality}; may be given again."),
        ],
        None,
    )
    for modality in dict.fromkeys(MODALITIES.values())
}


def attachments_of(given: Mapping[str, Any], anything: Sequence[Path] | None) -> list[Attachment]:
    """The files that such options name, and others, read. Raises `MediaError`, naming one that cannot be attached."""
    named = [read_attachment(path, modality) for modality in ATTACH_OPTIONS for path in given[modality] or ()]
    return [*named, *(read_attachment(path) for path in anything or ())]
