"""The fenced blocks of the documents, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "bundles").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(motet [a-z][^`]*)`")
_PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|\bM\b|, |…|\.\.\.|\(")


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the page and the text of each block in a language; "" is a block without one."""
    found = ((page, *match.groups()) for page in PAGES for match in _BLOCK.finditer(page.read_text()))
    return [(page.name, text) for page, kind, text in found if kind == language]


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Return the page and the words of each command in a block that runs a program."""
    return [(page, words) for page, text in blocks("") for words in _commands(text) if words[0] == program]


def inline_commands() -> list[tuple[str, list[str]]]:
    """Return the page and the words of each `motet ...` in a sentence, unless it has a placeholder."""
    return [
        (page.name, shlex.split(text))
        for page in PAGES
        for text in _INLINE.findall(_BLOCK.sub("", page.read_text()))
        if not _PLACEHOLDER.search(text)
    ]


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each line. A line continues if a quotation is open or the next line is indented."""
    lines = text.splitlines()
    while lines:
        command = lines.pop(0).removeprefix("$ ")
        while lines and (lines[0].startswith("  ") or command.endswith("\\")):
            command = f"{command.removesuffix(chr(92)).rstrip()} {lines.pop(0).strip()}"
        try:
            words = shlex.split(command, comments=True)
        except ValueError:
            continue  # a line of output, with an apostrophe
        if words:
            yield words
