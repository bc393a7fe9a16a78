"""Run commands in the order of their needs, a few at a time, and continue after an interruption."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.2
# A numerical library that starts more threads than its process may use is slower, and its sums differ.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """A command, and the names of the steps that must be complete before it starts.

    An interrupted command starts again with the same arguments, so it must continue its own work.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()


class TrainingPipeline:
    """Steps that run in `folder`: a log and, after success, an empty file `NAME.done` per step.

    At most `slots` steps run at the same time, each with one thread per numerical library. Of the steps that may start,
    the first one in the list starts. Raise ValueError if a step needs a later or an unknown one.
    """

    def __init__(self, steps: Sequence[PipelineStep], folder: Path, slots: int = 2) -> None:
        earlier: set[str] = set()
        for step in steps:
            if missing := set(step.needs) - earlier:
                raise ValueError(f"step {step.name!r} needs {sorted(missing)}: list these steps before it")
            earlier.add(step.name)
        self._steps, self._folder, self._slots = tuple(steps), folder, slots

    def run(self) -> list[str]:
        """Run all steps that are not complete. Return the names of the steps that failed or could not start.

        After a failure the other steps continue. Raise BlockingIOError if another process runs this pipeline.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        running: dict[str, subprocess.Popen[bytes]] = {}
        failed: set[str] = set()
        with self._lock():
            try:
                while True:
                    for name in [name for name, process in running.items() if process.poll() is not None]:
                        if running.pop(name).returncode == 0:
                            self._mark(name).touch()
                        else:
                            failed.add(name)
                    self._start(running, failed)
                    if not running:
                        return [step.name for step in self._steps if not self._mark(step.name).exists()]
                    time.sleep(_POLL_SECONDS)
            finally:
                for process in running.values():
                    process.terminate()
                for process in running.values():
                    process.wait()

    def status(self) -> Iterator[str]:
        """Yield a line per step: complete, or the last line of its log, or waiting."""
        for step in self._steps:
            log = self._folder / f"{step.name}.log"
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            state = "complete" if self._mark(step.name).exists() else (lines or ["waiting"])[-1]
            yield f"{step.name:24} {state}"

    def _start(self, running: dict[str, subprocess.Popen[bytes]], failed: set[str]) -> None:
        for step in self._steps:
            if len(running) >= self._slots:
                return
            may_start = all(self._mark(name).exists() for name in step.needs)
            if may_start and step.name not in running.keys() | failed and not self._mark(step.name).exists():
                with (self._folder / f"{step.name}.log").open("ab") as log:
                    environment = os.environ | _ONE_THREAD
                    running[step.name] = subprocess.Popen(step.command, stdout=log, stderr=log, env=environment)

    def _mark(self, name: str) -> Path:
        return self._folder / f"{name}.done"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        # The system releases the lock if the process dies, so an interrupted pipeline can start again.
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield


def run_in_background(command: Sequence[str], log: Path) -> int:
    """Start a command that outlives this process and its terminal. Return its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        ).pid


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module with this interpreter."""
    return (sys.executable, "-m", module, *arguments)
