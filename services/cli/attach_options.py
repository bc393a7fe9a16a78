"""Options for attached files: one for each input modality, and one for a file of any modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.media.kinds import MODALITIES
from services.cli.attachment import Attachment, read_attachment
from services.cli.typer_options import Options

Attach = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Attach a file of any supported type.")]

ATTACH_OPTIONS: Options = {
    modality: (
        Annotated[
            list[Path] | None,
            typer.Option(f"--{modality}", metavar="FILE", help=f"Attach a file of modality {modality}; repeatable."),
        ],
        None,
    )
    for modality in dict.fromkeys(MODALITIES.values())
}


def attachments_of(options: Mapping[str, Any], files: Sequence[Path] | None) -> list[Attachment]:
    """Read the files of the modalities' options, then `files`. Raises `MediaError`, which names the file."""
    by_modality = [read_attachment(path, modality) for modality in ATTACH_OPTIONS for path in options[modality] or ()]
    return [*by_modality, *(read_attachment(path) for path in files or ())]
