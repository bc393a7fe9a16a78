"""`motet protos`: the .proto files of the gRPC API, for programs in any language."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.answers.printable import printable
from motet.core.errors import RequestError
from services.cli.checks.paths import check_folder
from services.cli.checks.streams import STDOUT, check_open
from services.cli.commands import Command
from services.cli.exit import exit_after
from services.cli.typer_options import path_of
from services.exit_codes import Exit

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=Command)
def protos(
    out: Annotated[
        Path, typer.Option(parser=path_of, metavar="DIR", help="Folder for the files. It must be new or empty.")
    ] = Path("motet-protos"),
) -> None:
    """Write the files and exit."""

    def write() -> Exit:
        from motet.protos import proto_files, write_protos

        check_open(STDOUT)
        check_folder(out)
        if out.exists() and any(out.iterdir()):
            # Files of another version would stay among the new ones.
            raise RequestError(f"{out} is not empty: choose a new --out folder")
        try:
            write_protos(out)
        except OSError as error:
            raise RequestError(f"{out} cannot be written: {error.strerror}; choose another --out folder") from error
        for name in proto_files():
            print(printable(str(out / name)))
        return Exit.OK

    raise exit_after(write)
