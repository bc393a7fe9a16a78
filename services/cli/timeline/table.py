"""The table of a timeline on a terminal or in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from motet.answers.printable import printable_line
from motet.answers.timeline import Timeline, TimelineNode
from services.cli.timeline.words import result_of, totals_of

_BAR_WIDTH = 24
"""Width of a bar in columns."""
_PIPE_WIDTH = 140
"""Width of the table in a pipe, in columns."""
_WORK, _WAIT = "█", "░"
_HEAD = ("call", "", "start", "for inputs", "in queue", "work", "compute", "batch", "result", "takes")


def print_table(timeline: Timeline) -> None:
    """Print a row for each call, with a bar, and a line about the generation. Times are in seconds."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _HEAD:
        numeric = name in _HEAD[2:8]
        table.add_column(name, justify="right" if numeric else "left", no_wrap=not name or numeric)
    for node in timeline.nodes:
        table.add_row(*_cells(node, timeline.elapsed))
    console.print(Text(printable_line(timeline.generation)))
    if timeline.nodes:
        console.print(table)
        console.print(Text(f"* critical path, {_WORK} work, {_WAIT} wait for inputs or in a queue", "dim"))
    else:
        console.print(Text("no call of a worker is recorded"))
    console.print(Text(printable_line(totals_of(timeline))))


def _cells(node: TimelineNode, elapsed: float) -> list[Text]:
    style = "red" if node.critical else ""
    times = (node.start, node.input_wait, node.queue_wait, node.work, node.compute)
    return [
        Text(printable_line(f"{'*' if node.critical else ' '} {node.name}"), style),
        Text(_bar(node, elapsed), style),
        *(Text(f"{seconds:.3f}") for seconds in times),
        Text(f"{node.mean_batch_size:.1f}" if node.mean_batch_size else ""),
        Text(printable_line(result_of(node))),
        Text(printable_line(", ".join(node.inputs))),
    ]


def _bar(node: TimelineNode, elapsed: float) -> str:
    """Return a bar from the request of a call to its end. A call that is not empty has at least one column of work."""
    scale = _BAR_WIDTH / elapsed if elapsed else 0.0
    first, taken, end = (min(_BAR_WIDTH, round(at * scale)) for at in (node.requested, node.taken, node.end))
    taken = min(taken, _BAR_WIDTH - 1)
    first, end = min(first, taken), max(end, taken + 1)
    return " " * first + _WAIT * (taken - first) + _WORK * (end - taken)
