"""Files that a user attaches to a prompt, and the options for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from motet.core.errors import MediaError, Reason, RequestError
from motet.core.events import Artifact
from motet.core.media import Media
from motet.core.service import Motet
from motet.media.kinds import MODALITIES, modality_of, sniff
from motet.media.limits import DEFAULT_LIMITS
from services.cli.checks.paths import check_input
from services.cli.typer_options import Options, path_of

READABLE = ", ".join(media_type.partition("/")[2].removeprefix("x-") for media_type in MODALITIES)
"""The file types that can be attached, for error messages."""

_ATTACH = "attach"

Attach = Annotated[
    list[Path] | None, typer.Option(parser=path_of, metavar="FILE", help="Attach a file of any supported type.")
]

ATTACH_OPTIONS: Options = {
    modality: (
        Annotated[
            list[Path] | None,
            typer.Option(
                f"--{modality}",
                parser=path_of,
                metavar="FILE",
                help=f"Attach a file of modality {modality}; repeatable.",
            ),
        ],
        None,
    )
    for modality in dict.fromkeys(MODALITIES.values())
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file and the media in it."""

    path: Path
    media: Media

    async def upload(self, motet: Motet) -> Artifact:
        """Upload the media. Raises `MediaError`, which names the file, if the media are damaged."""
        try:
            return await motet.upload(self.media)
        except MediaError as error:
            raise MediaError(f"{self.path}: {error.message}", error.reason, error.metadata) from error


def read_attachment(path: Path, modality: str | None = None) -> Attachment:
    """Read a file as media. The file's first bytes, not its name, determine the media type.

    Raises `MediaError`, which names the file, if the file is missing, too large, of an unsupported type, or not of
    `modality`. Only `Attachment.upload` finds damaged media.
    """
    # A shell replaces "~" in an option, but nothing does so in a chat.
    data = _bytes_of(Path(os.path.expanduser(path)))
    media_type = sniff(data)
    if media_type is None:
        raise MediaError(
            f"{path} is not a file that Motet can read, whatever its name is: attach {READABLE}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
        )
    found = modality_of(media_type)
    if modality is not None and found != modality:
        raise MediaError(f"{path} holds {found}, not {modality}: attach it with --{found}", Reason.MEDIA_UNREADABLE)
    return Attachment(path, Media(media_type, data))


def attachments_of(options: Mapping[str, Any], files: Sequence[Path] | None, order: Sequence[str]) -> list[Attachment]:
    """Read the files of the modalities' options and of `files`, in the order of the command line.

    `order` has the name of the option for each typed file. Raises `MediaError`, which names the file.
    """
    typed = {name: iter(options[name] or ()) for name in ATTACH_OPTIONS} | {_ATTACH: iter(files or ())}
    return [read_attachment(next(typed[name]), None if name == _ATTACH else name) for name in order if name in typed]


def _bytes_of(path: Path) -> bytes:
    limit = DEFAULT_LIMITS.bytes
    try:
        check_input(path)
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except RequestError as error:
        raise MediaError(error.message) from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise MediaError(f"{path} has more than {limit} bytes; at most {limit} can be attached", Reason.INPUT_TOO_LARGE)
    return data
