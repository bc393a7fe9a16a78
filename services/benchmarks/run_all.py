"""All benchmarks in sequence, and the tables of their reports for the documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motet.core.errors import SettingsError
from services.benchmarks.reports.table import COLUMNS, figure_cells

CALIBRATION = "calibration"
BEGIN, END = "<!-- figures: motet bench table -->", "<!-- end of figures -->"


def commands(out: Path) -> dict[str, list[str]]:
    """Return the arguments of `motet bench` for each report, by the name of the report. Plots go into the same folder.

    `gpu` and `ray` are not included: they need a GPU, or Ray.
    """
    replicas = [f"--replicas={kind}" for kind in ("image=8", "audio=8", "video=32", "language model=2")]
    prices = [f"--price={kind}=1" for kind in ("language model", "image", "audio", "video")]
    return {
        "orchestrator": ["orchestrator"],
        "overlap": ["overlap", "--plot", str(out / "overlap.svg")],
        "overlap-nano": ["overlap", "--bundle", "nano", "--plot", str(out / "overlap-nano.svg")],
        "edges": ["edges", "--plot", str(out / "edges.svg")],
        "serve": ["serve", "--plot", str(out / "serve.svg")],
        CALIBRATION: ["calibrate"],
        "simulate": ["simulate", *replicas, "--rate", "10", "--costs", str(out / f"{CALIBRATION}.json")],
        "scaling": ["scaling", "--costs", str(out / f"{CALIBRATION}.json")],
        "size": ["size", *prices, "--costs", str(out / f"{CALIBRATION}.json")],
        "fleet": ["fleet", "--costs", str(out / f"{CALIBRATION}.json")],
        "activation": ["activation"],
        "llm": ["llm"],
        "diffusion": ["diffusion"],
        "contention": ["contention"],
        "encoder": ["encoder"],
        "start": ["start"],
        "silence": ["silence"],
        "failures": ["failures"],
        "tls": ["tls"],
        "tenants": ["tenants"],
        "metrics": ["metrics"],
        "tracing": ["tracing"],
    }


def run_all(out: Path, only: Sequence[str] = ()) -> int:
    """Run each benchmark in its own process. Return the number of those that failed or missed a bar.

    Reports go into the folder `out`. `only` names the benchmarks to run; if empty, all run. Raises `SettingsError` for
    an unknown name.
    """
    known = commands(out)
    if unknown := set(only) - known.keys():
        raise SettingsError(f"unknown benchmark: {', '.join(sorted(unknown))}; use {', '.join(known)}")
    failures = 0
    for name, arguments in known.items():
        if only and name not in only:
            continue
        print(f"\n== {name}: motet bench {' '.join(arguments)}", flush=True)
        command = [sys.executable, "-m", "services", "bench", *arguments, "--out", str(out / f"{name}.json")]
        failures += subprocess.run(command, check=False).returncode != 0
    return failures


def table_of(folder: Path) -> str:
    """Return a Markdown table of each report in a folder.

    Raises `SettingsError` if there is no report, or a JSON file that is no report.
    """
    order = list(commands(folder))
    reports = sorted(
        folder.glob("*.json"), key=lambda path: (order.index(path.stem) if path.stem in order else 99, path)
    )
    if not reports:
        raise SettingsError(f"no report in {folder}: run `motet bench all --out {folder}`")
    return "\n".join(map(_table, reports))


def put_table(folder: Path, document: Path) -> None:
    """Write the tables into a document, between its two markers. Raises `SettingsError` if a marker is missing."""
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SettingsError(f"{document} has no lines {BEGIN} and {END}: add them where the tables belong")
    document.write_text(f"{before}{BEGIN}\n\n{table_of(folder)}\n{END}{after}")


def _table(path: Path) -> str:
    try:
        return _table_of_report(path.stem, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        raise SettingsError(f"{path} is not a report of `motet bench`: remove it") from None


def _table_of_report(name: str, report: Mapping[str, Any]) -> str:
    machine = report["hardware"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    description = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB, {gpus}"
    lines = [f"### {name}", "", f"{report['time'][:10]}, {description}.", ""]
    lines += [_markdown_row(COLUMNS), "|---|--:|---|--:|---|---|"]
    lines += [_markdown_row(figure_cells(figure, "**missed**")) for figure in report["figures"]]
    return "\n".join([*lines, ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
