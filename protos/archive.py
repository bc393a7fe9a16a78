"""Write the release archive of the protos: `python protos/archive.py DIR` writes DIR/motet-protos-VERSION.tar.gz.

The same files give the same bytes. SOURCE_DATE_EPOCH is the time of all files, by default 2020-02-02 as in the wheels.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_DEFAULT_TIME = 1580601600
"""Time of the files in Hatch's wheels without SOURCE_DATE_EPOCH, in seconds since 1970."""


def main(folder: str) -> None:
    """Write the archive of this checkout's protos to a folder, which is created."""
    from motet.protos import proto_files

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    name = f"motet-protos-{version}"
    files = {path: file.read_bytes() for path, file in proto_files().items()}
    time = int(os.environ.get("SOURCE_DATE_EPOCH", _DEFAULT_TIME))
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / f"{name}.tar.gz").write_bytes(archive_of(name, files, time))


def archive_of(top: str, files: Mapping[str, bytes], time: int) -> bytes:
    """Return a compressed archive of files in a top folder, in the order of their names, without an owner."""
    packed = io.BytesIO()
    # An empty file name: gzip would store the name of the archive.
    with (
        gzip.GzipFile("", "wb", 9, packed, mtime=time) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(files):
            entry = tarfile.TarInfo(f"{top}/{path}")
            entry.size, entry.mtime, entry.mode = len(files[path]), time, 0o644
            archive.addfile(entry, io.BytesIO(files[path]))
    return packed.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1])
