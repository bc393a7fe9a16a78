"""The tables of a snapshot for people. Text of the endpoints cannot control the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from motet.answers.printable import printable_line
from motet.core.events import TEXT
from motet.core.telemetry.service_kind import ServiceKind
from services.cli.top.rows.gpu import GpuRow
from services.cli.top.rows.modality import DeviceLoad, ModalityRow
from services.cli.top.rows.pool import PoolRow
from services.cli.top.rows.process import ProcessRow, ProcessState
from services.cli.top.snapshot import Snapshot

_MAX_ROWS = 100
"""Maximum number of rows of a table."""

_MAX_ERRORS, _MAX_ERROR = 10, 300
"""Maximum number of errors below the tables, and maximum number of characters of an error."""

_MAX_CELL = 60
"""Maximum number of characters of a cell."""

_GAP = "   "

_STYLES = {
    ProcessState.SERVING: "green",
    ProcessState.STARTING: "yellow",
    ProcessState.DRAINING: "yellow",
    ProcessState.NOT_SERVING: "red",
    ProcessState.UNREACHABLE: "red",
}

Cell = str | Text


@dataclass(frozen=True, slots=True)
class _Column:
    """A column. A terminal narrower than `min_width` columns has no place for it."""

    title: str
    min_width: int = 0
    numeric: bool = True


_MODALITIES = (
    _Column("modality", numeric=False),
    _Column("output"),
    _Column("failed/s", 100),
    _Column("encoded/s", 100),
    _Column("running", 50),
    _Column("batch", 60),
    _Column("step", 70),
    _Column("cache", 110),
    _Column("load"),
    _Column("encoder load", 80),
)
_POOLS = (
    _Column("pool", numeric=False),
    _Column("ready"),
    _Column("replicas", 70, numeric=False),
    _Column("waiting"),
    _Column("oldest wait"),
    _Column("running", 50),
    _Column("slots", 80),
    _Column("queued work", 100),
)
_PROCESSES = (
    _Column("service", numeric=False),
    _Column("state", numeric=False),
    _Column("running", 50),
    _Column("queued", 70),
    _Column("batch", 80),
    _Column("cores", 50),
    _Column("memory", 60),
    _Column("metrics", 100, numeric=False),
)
_GPUS = (
    _Column("gpu", numeric=False),
    _Column("name", 100, numeric=False),
    _Column("used by", numeric=False),
    _Column("compute"),
    _Column("memory"),
    _Column("power", 80),
    _Column("temperature", 90),
    _Column("throttled by", 80, numeric=False),
)


def page_of(snapshot: Snapshot, width: int) -> RenderableType:
    """Return the tables of a snapshot for a terminal of `width` columns."""
    parts: list[RenderableType] = [Text(_packed(_summary(snapshot), width))]
    tables = [
        (_MODALITIES, [_modality_cells(row, snapshot) for row in snapshot.modalities]),
        (_POOLS, [_pool_cells(row) for row in snapshot.pools]),
        (_PROCESSES, [_process_cells(row) for row in snapshot.processes]),
        (_GPUS, [_gpu_cells(row) for row in snapshot.gpus]),
    ]
    for columns, rows in tables:
        if rows:
            parts += [Text(), _table(columns, rows, width)]
        if len(rows) > _MAX_ROWS:
            parts.append(Text(f"{len(rows) - _MAX_ROWS} more: --json has all", "dim"))
    parts += [Text(_short(f"{row.name}: {row.error}", _MAX_ERROR), "red") for row in snapshot.processes if row.error][
        :_MAX_ERRORS
    ]
    return Group(*parts)


def print_page(snapshot: Snapshot, console: Console) -> None:
    """Print the tables of a snapshot."""
    console.print(page_of(snapshot, console.width))


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[Cell]], width: int) -> Table:
    shown = [number for number, column in enumerate(columns) if column.min_width <= width]
    safe = [[_safe(cell) for cell in row] for row in rows[:_MAX_ROWS]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number in shown:
        column = columns[number]
        natural = max(len(column.title), *(len(cells[number].plain) for cells in safe))
        # A long text elsewhere must not push out the figures and the names.
        min_width = natural if column.numeric else min(natural, width // 3) if number == 0 else None
        justify: JustifyMethod = "right" if column.numeric else "left"
        table.add_column(column.title, justify=justify, no_wrap=True, min_width=min_width)
    for cells in safe:
        table.add_row(*(cells[number] for number in shown))
    return table


def _safe(cell: Cell) -> Text:
    """Return a cell whose text is short and cannot control the terminal."""
    text, style = (cell.plain, cell.style) if isinstance(cell, Text) else (cell, "")
    return Text(_short(text, _MAX_CELL), style)


def _short(text: str, limit: int) -> str:
    """Return a text of `limit` characters at most for one line of a terminal."""
    safe = printable_line(text[: limit + 1])
    return safe if len(safe) <= limit else f"{safe[: limit - 3]}..."


def _packed(words: Sequence[str], width: int) -> str:
    """Return words in lines of `width` columns at most, with spaces between them. A longer word has its own line."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(_GAP) + len(word) > width:
            lines.append("")
        lines[-1] += f"{_GAP}{word}" if lines[-1] else word
    return "\n".join(lines)


def _summary(snapshot: Snapshot) -> list[str]:
    totals = snapshot.totals
    clock = time.strftime("%H:%M:%S", time.localtime(snapshot.time))
    words = [clock, f"{snapshot.reachable} of {len(snapshot.processes)} processes answer"]
    if totals.generations_running is not None:
        words.append(f"generations: {totals.generations_running:.0f} running, {_rate(totals.generations_per_second)}")
        tokens = f"{_number(totals.output_tokens_per_second)} out, {_number(totals.input_tokens_per_second)} in"
        words.append(f"tokens/s: {tokens}")
    if totals.kv_tokens_used is not None and totals.kv_tokens_limit:
        words.append(f"KV cache: {_percent(totals.kv_tokens_used / totals.kv_tokens_limit)}")
    if totals.sequences_waiting:
        words.append(f"{totals.sequences_waiting:.0f} sequences wait for it")
    for name, ratio in (("prefixes", totals.prefix_cache_hit_ratio), ("embeddings", totals.encoder_cache_hit_ratio)):
        if ratio is not None:
            words.append(f"{name} from the cache: {_percent(ratio)}")
    return words


def _modality_cells(row: ModalityRow, snapshot: Snapshot) -> list[Cell]:
    tokens = snapshot.totals.output_tokens_per_second
    is_text = row.modality == TEXT and tokens is not None
    own = [load for load in row.loads if load.component != ServiceKind.ENCODER]
    encoder = [load for load in row.loads if load.component == ServiceKind.ENCODER]
    return [
        row.modality,
        f"{_number(tokens)} tokens/s" if is_text else _rate(row.media_per_second),
        Text(_number(row.failed_per_second), "red" if row.failed_per_second else ""),
        _number(row.encoded_per_second),
        _count(row.jobs_running),
        _number(row.batch_size),
        "-" if row.step_seconds is None else f"{row.step_seconds * 1e3:.1f} ms",
        _percent(row.cache_hit_ratio),
        _load(own),
        _load(encoder),
    ]


def _pool_cells(row: PoolRow) -> list[Cell]:
    ready = row.replicas_by_state.get("ready", 0)
    replicas = sum(row.replicas_by_state.values())
    return [
        row.pool,
        Text(f"{ready}/{replicas}", "green" if ready == replicas else "red"),
        ", ".join(_replica_words(row)),
        Text(_count(row.calls_waiting), "yellow" if row.calls_waiting else ""),
        f"{row.oldest_wait_seconds:.1f} s",
        _count(row.calls_running),
        _count(row.slots) if row.slots else "-",
        f"{row.queue_seconds:.1f} s",
    ]


def _replica_words(row: PoolRow) -> Iterator[str]:
    """Yield the ordinals of the ready replicas, and those of the others with their states."""
    ready = " ".join(replica.ordinal for replica in row.replicas if replica.ready)
    others = " ".join(replica.ordinal for replica in row.replicas if not replica.ready)
    if ready:
        yield f"{ready} ready"
    if others:
        states = [f"{count} {state}" for state, count in row.replicas_by_state.items() if state != "ready"]
        # With one replica or one state, the number says nothing.
        words = f"({', '.join(states) or 'not ready'})"
        yield f"{others} {states[0].partition(' ')[2] if len(states) == 1 else words}"


def _process_cells(row: ProcessRow) -> list[Cell]:
    return [
        row.name,
        Text(row.state, _STYLES[row.state]),
        _count(row.calls_running),
        _count(row.calls_queued),
        _number(row.batch_size),
        _number(row.cpu_cores),
        _bytes(row.memory_bytes),
        row.address,
    ]


def _gpu_cells(row: GpuRow) -> list[Cell]:
    return [
        row.uuid,
        row.name,
        ", ".join(row.components),
        _percent(row.compute),
        f"{_bytes(row.memory_used_bytes)} of {_bytes(row.memory_bytes)}",
        "-" if row.power_watts is None else f"{row.power_watts:.0f} W",
        "-" if row.temperature_celsius is None else f"{row.temperature_celsius:.0f} °C",
        Text(", ".join(row.throttled) or "-", "red" if row.throttled else ""),
    ]


def _load(loads: Sequence[DeviceLoad]) -> str:
    """Return the sums over all CPUs and over all GPUs, such as "0.9 cores"."""
    cpus = [load.busy for load in loads if load.device == "cpu"]
    gpus = [load.busy for load in loads if load.device != "cpu"]
    words = ([f"{_number(sum(gpus))} GPUs"] if gpus else []) + ([f"{_number(sum(cpus))} cores"] if cpus else [])
    return ", ".join(words) or "-"


def _number(value: float | None) -> str:
    """Return a number with two or three digits, such as 0, 0.25, 12.5 or 1250."""
    if not value:
        return "-" if value is None else "0"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{_number(value)}/s"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.0%}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
