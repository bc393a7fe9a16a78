"""Tables and durations for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from motet.answers.printable import printable_line

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table, with columns as wide as their longest cell. An empty cell has a dash."""
    cells = [list(head), *([printable_line(str(cell)) or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def age_of(seconds: float) -> str:
    """Return a duration in its largest unit, such as 3d."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{int(seconds // size)}{unit}"
