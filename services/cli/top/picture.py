"""The picture of a snapshot, as a terminal shows it."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from motet.core.errors import RequestError
from services.cli.checks.paths import check_file
from services.cli.top.snapshot import Snapshot
from services.cli.top.view import print_page

_SUFFIX = ".svg"
_WIDTH = 120
"""Width of the picture in columns."""

# The library's fonts are on a server of others. Without them, the picture has the viewer's font for code.
_WEB_FONTS = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)


def check_svg(file: Path) -> None:
    """Raise `RequestError` for a file that cannot be written, or that is no .svg file."""
    check_file(file)
    if file.suffix != _SUFFIX:
        raise RequestError(f"{file} is no {_SUFFIX} file: let its name end with {_SUFFIX}")


def draw_snapshot(snapshot: Snapshot, file: Path) -> None:
    """Draw the tables into a file that `check_svg` has checked. Raises `RequestError` for a write error."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=_WIDTH,
        highlight=False,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    print_page(snapshot, console)
    picture = _WEB_FONTS.sub("", console.export_svg(title="motet top", unique_id="motet-top"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file} cannot be written: {error.strerror}; name another file") from error
