"""Every benchmark, one after the other, and the table that the documentation shows of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motet.core.errors import SettingsError
from services.benchmarks.reports.table import number

CALIBRATION = "calibration"
BEGIN, END = "<!-- figures: motet bench table -->", "<!-- end of figures -->"


def commands(out: Path) -> dict[str, list[str]]:
    """Return the arguments of `motet bench` for each report, by the report's name. Pictures go beside the reports.

    `gpu` is missing: it needs another machine.
    """
    fleet = [f"--replicas={kind}" for kind in ("image=8", "audio=8", "video=32", "language model=2")]
    return {
        "orchestrator": ["orchestrator"],
        "overlap": ["overlap", "--plot", str(out / "overlap.svg")],
        "overlap-nano": ["overlap", "--bundle", "nano", "--plot", str(out / "overlap-nano.svg")],
        "serve": ["serve", "--plot", str(out / "serve.svg")],
        CALIBRATION: ["calibrate"],
        "simulate": ["simulate", *fleet, "--rate", "10", "--costs", str(out / f"{CALIBRATION}.json")],
        "llm": ["llm"],
        "diffusion": ["diffusion"],
        "contention": ["contention"],
        "encoder": ["encoder"],
    }


def run_all(out: Path, only: Sequence[str] = ()) -> int:
    """Run them, each in a process of its own, reports into a folder; how many failed or miss a bar.

    Raises `SettingsError` for a name that is none.
    """
    known = commands(out)
    if unknown := set(only) - known.keys():
        raise SettingsError(f"there is no benchmark {', '.join(sorted(unknown))}, only {', '.join(known)}")
    bad = 0
    for name, arguments in known.items():
        if only and name not in only:
            continue
        print(f"\n== {name}: motet bench {' '.join(arguments)}", flush=True)
        command = [sys.executable, "-m", "services", "bench", *arguments, "--out", str(out / f"{name}.json")]
        bad += subprocess.run(command, check=False).returncode != 0
    return bad


def table_of(folder: Path) -> str:
    """A Markdown table for each report in a folder, its machine named. Raises `SettingsError` where there is none."""
    order = list(commands(folder))
    reports = sorted(
        folder.glob("*.json"), key=lambda path: (order.index(path.stem) if path.stem in order else 99, path)
    )
    if not reports:
        raise SettingsError(f"{folder} holds no report: motet bench all --out {folder}")
    return "\n".join(_table(path.stem, json.loads(path.read_text())) for path in reports)


def put_table(folder: Path, document: Path) -> None:
    """Write the tables into a document, between its two marks. Raises `SettingsError` where it has none."""
    text = document.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SettingsError(f"{document} has no lines {BEGIN} and {END} to write between")
    document.write_text(f"{before}{BEGIN}\n\n{table_of(folder)}\n{END}{after}")


def _table(name: str, report: Mapping[str, Any]) -> str:
    machine = report["hardware"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB, {gpus}"
    lines = [f"### {name}", "", f"{report['time'][:10]}, {where}.", ""]
    lines += ["| figure | value | baseline | ratio | bar | |", "|---|--:|---|--:|---|---|"]
    lines += [_row(figure) for figure in report["figures"]]
    return "\n".join([*lines, ""])


def _row(figure: Mapping[str, Any]) -> str:
    baseline = figure["baseline"]
    against = f"{baseline['name']}: {number(baseline['value'], figure['unit'])}" if baseline else ""
    ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.3g} x"
    met = {True: "met", False: "**missed**", None: ""}[figure["met"]]
    cells = (figure["name"], number(figure["value"], figure["unit"]), against, ratio, figure["bar"] or "", met)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
