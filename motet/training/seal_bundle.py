"""Write the list of a bundle's files, each with its sha256, into the bundle's manifest.

    python -m motet.training.seal_bundle bundles/nano

The command keeps everything above `files:` in the manifest and replaces the list below. It does not list documents,
because documents are not part of a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.core.bundle import MANIFEST, Bundle, digest_of, files_of


def seal_bundle(folder: Path) -> Bundle:
    """Write the list of files, then load and return the bundle. Raise `BundleError` if the bundle is invalid."""
    manifest = folder / MANIFEST
    settings = manifest.read_text().split("\nfiles:")[0]
    lines = [f"  {name}: {digest_of(folder / name)}" for name in files_of(folder)]
    manifest.write_text("\n".join([settings.rstrip("\n"), "files:", *lines, ""]))
    return Bundle.load(folder)


def main(folder: Annotated[Path, typer.Argument(help="The bundle's folder.")]) -> None:
    """Write the sha256 of every file of a bundle into its manifest, and print a summary."""
    bundle = seal_bundle(folder)
    size = sum(bundle.path(name).stat().st_size for name in bundle.manifest.files)
    print(f"{bundle.manifest.name}: {len(bundle.manifest.files)} files, {size / 1e6:.1f} MB, digest {bundle.digest}")


if __name__ == "__main__":
    typer.run(main)
