"""The processes of a deployment that `motet up` runs."""

from __future__ import annotations

from pathlib import Path


def descendants(process: int) -> list[int]:
    """Return the child processes of a process."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children]


def process_of(parent: int, *arguments: str) -> int:
    """Return the child process whose command line has these arguments in a row."""
    command = "\0".join(["", *arguments, ""]).encode()
    return next(child for child in descendants(parent) if command in Path(f"/proc/{child}/cmdline").read_bytes())


def ended(processes: list[int]) -> bool:
    """Return whether no process of these exists."""
    return not any(Path(f"/proc/{process}").exists() for process in processes)
