"""Seals a bundle: lists every file of it, with its sha256, in the manifest.

    python -m motet.training.seal_bundle bundles/nano

What the manifest says above `files:` is written by hand and stays as it is; the list below it is made anew. Documents
are not part of a model and are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from motet.core.bundle import MANIFEST, Bundle, digest_of

_DOCUMENTS = {MANIFEST, "MODEL_CARD.md", "LICENCES.md"}


def seal_bundle(folder: Path) -> Bundle:
    """Write the list of files, then load the bundle as any process would. Raises `BundleError` if it is unsound."""
    manifest = folder / MANIFEST
    facts = manifest.read_text().split("\nfiles:")[0]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    lines = [f"  {name}: {digest_of(folder / name)}" for name in names if name not in _DOCUMENTS]
    manifest.write_text("\n".join([facts.rstrip("\n"), "files:", *lines, ""]))
    return Bundle.load(folder)


def main() -> None:
    """Seal the bundle and say what it holds."""
    parser = argparse.ArgumentParser(prog="motet.training.seal_bundle", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the bundle")
    bundle = seal_bundle(parser.parse_args().folder)
    size = sum(bundle.path(name).stat().st_size for name in bundle.manifest.files)
    print(f"{bundle.manifest.name}: {len(bundle.manifest.files)} files, {size / 1e6:.1f} MB, digest {bundle.digest}")


if __name__ == "__main__":
    main()
