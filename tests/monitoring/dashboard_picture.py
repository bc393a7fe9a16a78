"""Draw a dashboard from the answers of a real Prometheus, as the picture of the documents.

    python -m tests.monitoring.dashboard_picture docs/dashboard.png

A deployment of nano answers prompts for two minutes. Then Prometheus answers the queries of the panels of the dashboard
Pipeline, and matplotlib draws the series: Grafana is not needed.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib import pyplot

from motet.client import Client
from motet.core.media import Media
from tests.deploy.chart import CHART, ROOT
from tests.monitoring.running import RunningPrometheus, running_prometheus
from tests.monitoring.test_running import unselected

SECONDS = 120
CALLERS = 3
MAX_LINES = 8
"""Maximum number of lines of a panel: those with the largest values."""
PROMPTS = (
    "What is in this picture?",
    "Show me a penguin on a blue background.",
    "Play a low note on a flute, and draw a car on a yellow background.",
    "Make a clip of a fish growing.",
    "Draw a cat on a red background, play a high note on a trumpet and make a clip of a bee moving up.",
)
PICTURE = ROOT / "examples" / "turtle.png"


async def load(client: Client) -> None:
    """Send prompts, each after the answer of the one before, until the time is over."""
    picture = Media("image/png", PICTURE.read_bytes())
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        prompt = random.choice(PROMPTS)
        await client.answer(prompt, [picture] if "this picture" in prompt else [])


async def series_of(prometheus: RunningPrometheus, panel: Mapping[str, Any], start: float) -> dict[str, Any]:
    """Return the times and values of each line of a panel, by its legend."""
    lines = {}
    for target in panel["targets"]:
        for series in await prometheus.query_range(unselected(target["expr"]), start, time.time(), 2):
            labels = series["metric"]
            legend = re.sub(r"{{(\w+)}}", lambda found, labels=labels: labels.get(found[1], ""), target["legendFormat"])
            points = [(at - start, float(value)) for at, value in series["values"] if value != "NaN"]
            if points:
                lines[legend.strip()] = points
    return lines


def draw(path: Path, title: str, panels: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the picture: two panels in a row, each with its legend. Panels without a series are left out."""
    panels = {name: lines for name, lines in panels.items() if lines}
    rows = -(-len(panels) // 2)
    figure, axes = pyplot.subplots(rows, 2, figsize=(14, 2.6 * rows), layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
        largest = sorted(lines.items(), key=lambda line: -max(value for _, value in line[1]))[:MAX_LINES]
        for legend, points in largest:
            axis.plot(*zip(*points, strict=True), label=legend, linewidth=1.4)
        axis.set_title(name, fontsize=11, loc="left")
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.suptitle(title, fontsize=13)
    figure.savefig(path, dpi=75)


async def main(path: Path) -> None:
    """Start everything, send the load, and write the picture."""
    dashboard = json.loads((CHART / "dashboards" / "pipeline.json").read_text())
    with TemporaryDirectory() as folder:
        async with (
            running_prometheus(Path(folder), {}) as prometheus,
            Client(prometheus.ready["orchestrator"].address) as client,
        ):
            start = time.time()
            await asyncio.gather(*(load(client) for _ in range(CALLERS)))
            found = {
                panel["title"]: await series_of(prometheus, panel, start)
                for panel in dashboard["panels"]
                if panel["type"] != "row"
            }
    draw(path, f"{dashboard['title']}: {CALLERS} callers of the nano model, seconds", found)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
