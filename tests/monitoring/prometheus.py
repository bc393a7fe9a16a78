"""The programs of Prometheus, which `make test` installs, and the rules of the chart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.chart import CHART, ROOT, objects

Rules = dict[str, Any]

_FOLDER = ROOT / ".venv" / "prometheus" / "usr" / "bin"


def program(name: str) -> str:
    """Return the path of a program, such as promtool. Raises `RuntimeError` if it is not installed."""
    # Debian's Alertmanager is prometheus-alertmanager.
    for each in (name, f"prometheus-{name}"):
        if found := shutil.which(each, path=f"{_FOLDER}:{os.environ['PATH']}"):
            return found
    raise RuntimeError(f"{name} is not installed: run `make .venv/prometheus/.installed`")


def promtool(*arguments: str | Path) -> str:
    """Run promtool, and return what it printed. Raises `AssertionError` with the output if it fails."""
    done = subprocess.run([program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules(values: Mapping[str, Any] | None = None) -> Rules:
    """Return the groups of rules that the chart makes. `values` are those of prometheusRule."""
    every = objects({"prometheusRule": {"enabled": True, "selector": {"job": "motet"}, **(values or {})}})
    return dict(next(each for each in every if each["kind"] == "PrometheusRule")["spec"])


def alerts(groups: Rules) -> dict[str, dict[str, Any]]:
    """Return the alerts of groups of rules by name, without the prefix Motet."""
    every = [rule for group in groups["groups"] for rule in group["rules"]]
    return {rule["alert"].removeprefix("Motet"): rule for rule in every if "alert" in rule}


def panels() -> list[dict[str, Any]]:
    """Return the graphs of all dashboards."""
    dashboards = [json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))]
    return [panel for each in dashboards for panel in each["panels"] if panel["type"] != "row"]


def write_yaml(path: Path, content: object) -> Path:
    """Write a file of YAML, and return its path."""
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=1000))
    return path
