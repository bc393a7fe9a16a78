"""The locks of the images, and the distributions that Motet needs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from typing import Self

from packaging.requirements import Requirement

from tests.deploy.chart import ROOT

IMAGES = ROOT / "deploy" / "images"
LOCKS = IMAGES / "locks"
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)
# The environment of the images, for requirements that only some environments have.
IMAGE = {
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}


@dataclass(frozen=True, slots=True)
class Lock:
    """The versions of distributions by their normal names, and the sha256 of their files."""

    versions: Mapping[str, str]
    hashes: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, name: str) -> Self:
        """Read the file of a lock. Every line that is no comment must belong to a version with hashes."""
        text = re.sub("^#.*\n", "", (LOCKS / f"{name}.txt").read_text(), flags=re.MULTILINE)
        rest = ENTRY.sub("", text)
        assert not rest, f"{name}: these lines are no versions with hashes: {rest[:200]}"
        entries = {normal(each[1]): each for each in ENTRY.finditer(text)}
        return cls(
            {each: entry[2] for each, entry in entries.items()},
            {each: frozenset(re.findall("sha256:([0-9a-f]+)", entry[3])) for each, entry in entries.items()},
        )


def lock_names() -> set[str]:
    """Return the names of all locks."""
    return {path.stem for path in LOCKS.iterdir()}


def extras_of(lock: str) -> tuple[str, ...]:
    """Return the extras of Motet from which `make lock` writes a lock."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(rf"'\.\[([a-z,]+)\]' .*--output-file \$\(LOCKS\)/{lock}\.txt", makefile)
    assert found is not None, f"make lock does not write {lock}"
    return tuple(found[1].split(","))


def distributions(*extras: str) -> set[str]:
    """Return the names of the distributions that Motet needs with some extras, with their own requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    first = [*map(Requirement, project["dependencies"]), *_listed(project["optional-dependencies"], extras)]
    done: set[tuple[str, frozenset[str]]] = set()
    waiting = [(normal(each.name), frozenset(each.extras)) for each in first]
    while waiting:
        current = waiting.pop()
        if current in done:
            continue
        done.add(current)
        try:
            lines = requires(current[0]) or []
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or any(marker.evaluate(IMAGE | {"extra": extra}) for extra in (*current[1], "")):
                waiting.append((normal(requirement.name), frozenset(requirement.extras)))
    return {each for each, _ in done}


def _listed(optional: Mapping[str, list[str]], extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements of extras, with those of Motet's own extras that they name.

    They come from pyproject.toml, because the metadata of an installed Motet may be older.
    """
    for requirement in map(Requirement, (each for extra in extras for each in optional[extra])):
        if requirement.name == "motet":
            yield from _listed(optional, requirement.extras)
        else:
            yield requirement


def normal(name: str) -> str:
    """Return the normal form of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
