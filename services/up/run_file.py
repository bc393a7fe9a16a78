"""The file of a running `motet up`: the addresses of its services, for other commands of the same user."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from services.ready_line import ReadyLine
from services.terminal import print_status

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class RunningDeployment:
    """The services of a running `motet up` by their names. `address` is the orchestrator's."""

    address: str
    services: Mapping[str, ReadyLine]

    @property
    def port(self) -> int:
        """The port of the orchestrator."""
        return int(self.address.rpartition(":")[2])


@contextmanager
def run_file(address: str, services: Mapping[str, ReadyLine]) -> Iterator[None]:
    """Keep a file with the addresses of the services within the context. Only this user can read it.

    A process locks its file for its life, so a file without a lock belongs to a process that was killed. If no file can
    be written, print a line about it.
    """
    # Files of killed processes would become more and more.
    running_deployments()
    try:
        path, file = _locked_file(json.dumps(_content(address, services)))
    except (OSError, RuntimeError) as error:
        print_status(f"motet top needs the addresses of the metrics, because no file can have them: {error}")
        yield
        return
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running_deployments() -> Sequence[RunningDeployment]:
    """Return the deployments of this user that run on this machine, by their ports. Remove stale files."""
    try:
        paths = sorted(_folder().glob(f"*{_SUFFIX}"))
    except (OSError, RuntimeError):
        return ()
    found = [deployment for path in paths if (deployment := _read(path)) is not None]
    return sorted(found, key=lambda deployment: deployment.port)


def _folder() -> Path:
    """Return the folder of the files. Raises `RuntimeError` for a user without a home folder."""
    if (runtime := os.environ.get("XDG_RUNTIME_DIR")) and os.path.isdir(runtime):
        return Path(runtime) / "motet"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "motet"


def _content(address: str, services: Mapping[str, ReadyLine]) -> dict[str, object]:
    rows = [{"name": name, "address": line.address, "metrics": line.metrics} for name, line in services.items()]
    return {"address": address, "services": rows}


def _locked_file(content: str) -> tuple[Path, IO[str]]:
    """Write a new file, and return its path and the open file, which holds the lock."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The file has its final name once it is locked and complete. No two files ever have the same name.
    descriptor, draft = tempfile.mkstemp(prefix="up-", dir=folder)
    file = open(descriptor, "w", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    path = Path(draft + _SUFFIX)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(content)
        file.flush()
        os.rename(draft, path)
    except BaseException:
        file.close()
        with suppress(OSError):
            os.unlink(draft)
        raise
    return path, file


def _read(path: Path) -> RunningDeployment | None:
    """Return the deployment of a file, or None for a file that is stale, which is removed, or not readable."""
    try:
        with open(path, encoding="utf-8") as file:
            if _is_stale(file):
                path.unlink(missing_ok=True)
                return None
            content = json.load(file)
            services = {
                row["name"]: ReadyLine(row["name"], row["address"], row["metrics"]) for row in content["services"]
            }
            deployment = RunningDeployment(content["address"], services)
            return deployment if deployment.port else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_stale(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
