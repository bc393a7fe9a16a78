"""Images that buildah builds from the Dockerfile on a Debian base, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.chart import ROOT
from tests.deploy.images.lock import IMAGES, LOCKS

PACKAGES = "python3-venv,libstdc++6,ca-certificates,wget"
"""The packages of the base beside the essential ones of Debian 12, which has Python 3.11."""
WHEELS = "/wheelhouse"
SHELLS = ("sh", "bash", "dash", "rbash")

# The base of the images: the base of the build without its shells.
WITHOUT_SHELL = f"""
FROM localhost/motet-build-base
RUN ["python3", "-c", "import pathlib; [pathlib.Path('/usr/bin', each).unlink(True) for each in {SHELLS}]"]
"""


@dataclass(frozen=True, slots=True)
class ImageStore:
    """A folder with the files of the build, and with the images. Files and bases that exist are used again.

    The build needs buildah, runc and mmdebstrap, and the user root. Only Debian packages, and the wheels of the locks
    with pip's settings, are downloaded.
    """

    folder: Path

    def prepare(self) -> None:
        """Make both bases, and download the wheels of the locks."""
        rootfs = self.folder / "base" / "rootfs.tar"
        if not rootfs.exists():
            rootfs.parent.mkdir(parents=True, exist_ok=True)
            partial = rootfs.with_name("partial.tar")
            run("mmdebstrap", "--variant=essential", f"--include={PACKAGES}", "bookworm", partial)
            partial.rename(rootfs)
        for lock in ("build", "orchestrator", "worker-cpu", "ray-cpu"):
            options = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", self.wheels)
            run(sys.executable, "-m", "pip", "download", *options, "--requirement", LOCKS / f"{lock}.txt")
        (self.folder / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {WHEELS}\n")
        self._build("build-base", rootfs.parent, "FROM scratch\nADD rootfs.tar /\n")
        self._build("base", rootfs.parent, WITHOUT_SHELL)

    def build(self, target: str, **arguments: str) -> None:
        """Build a target of the Dockerfile from the files of the repository."""
        given = {
            "BASE": "localhost/motet-base",
            "BUILD_BASE": "localhost/motet-build-base",
            "DEVICE": "cpu",
        } | arguments
        self.buildah(
            *self._build_options,
            *(f"--build-arg={name}={value}" for name, value in given.items()),
            f"--ignorefile={IMAGES / 'Dockerfile.dockerignore'}",
            f"--secret=id=pip,src={self.folder / 'pip.conf'}",
            f"--volume={self.wheels}:{WHEELS}:ro",
            f"--target={target}",
            f"--tag=localhost/motet-{target}",
            f"--file={IMAGES / 'Dockerfile'}",
            ROOT,
        )

    def config(self, name: str) -> dict[str, Any]:
        """Return the configuration of an image: its user, variables, labels, command and working directory."""
        return dict(json.loads(self.buildah("inspect", "--type=image", f"localhost/motet-{name}"))["OCIv1"]["config"])

    @contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """Mount the file system of an image."""
        container = self.buildah("from", "--pull-never", f"localhost/motet-{name}").strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("rm", container)

    def buildah(self, *arguments: object) -> str:
        """Return the output of a command of buildah."""
        return run("buildah", f"--root={self.folder / 'storage'}", f"--runroot={self.folder / 'run'}", *arguments)

    @property
    def wheels(self) -> Path:
        """The folder of the wheels."""
        return self.folder / "wheelhouse"

    @property
    def _build_options(self) -> tuple[str, ...]:
        return ("build", "--quiet", "--layers", "--pull-never", "--isolation=oci", "--runtime=runc", "--network=none")

    def _build(self, name: str, context: Path, dockerfile: str) -> None:
        if f"localhost/motet-{name}" in self.buildah("images", "--format={{.Name}}").splitlines():
            return
        (context / "Dockerfile").write_text(dockerfile)
        self.buildah(*self._build_options, f"--tag=localhost/motet-{name}", context)


def run(*command: object) -> str:
    """Run a program to its end, and return its output. If it fails, the error has its last lines."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, (
        f"{command[0]} failed: {' '.join(map(str, command))}\n{(done.stdout + done.stderr)[-3000:]}"
    )
    return done.stdout
