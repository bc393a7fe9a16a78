"""A whole object of the chart, as a reader sees it. To write the file: python -m tests.deploy.test_chart_golden"""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.deploy.chart import ci_values, of_kind

GOLDEN = Path(__file__).parent / "golden" / "single-gpu-image.yaml"


def rendered() -> str:
    """Return the Deployment of a decoder on a shared GPU."""
    return yaml.safe_dump(of_kind("Deployment", ci_values("single-gpu"))["image"], width=110)


def test_a_deployment_is_the_committed_one() -> None:
    assert rendered() == GOLDEN.read_text(), "if the change is intended, run python -m tests.deploy.test_chart_golden"


if __name__ == "__main__":
    GOLDEN.write_text(rendered())
