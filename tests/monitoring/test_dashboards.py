"""The Grafana dashboards: their queries, their places and their objects in the chart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from motet.core.telemetry.service_metrics import families
from tests.deploy.chart import CHART, ROOT, of_kind
from tests.monitoring.prometheus import panels, promtool, write_yaml

FILES = sorted((CHART / "dashboards").glob("*.json"))
DASHBOARDS = [json.loads(path.read_text()) for path in FILES]


def test_the_folder_of_grafana_leads_to_the_dashboards_of_the_chart() -> None:
    assert [path.stem for path in FILES] == ["autoscaling", "gpu", "overview", "pipeline", "rollouts"]
    assert sorted((ROOT / "deploy" / "grafana").glob("*.json"))


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_to_do_and_its_legend_has_labels_of_its_query(panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 20
    assert "](" not in panel["description"]
    for target in panel["targets"]:
        expression = target["expr"]
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        grouped = {label.strip() for each in re.findall(r"by \(([^)]*)\)", expression) for label in each.split(",")}
        assert labels <= grouped or not grouped


def test_panels_use_metrics_that_motet_exports() -> None:
    described = [family.describe()[0] for family in families()]
    exported = {
        family.name + suffix for family in described for suffix in ("", "_total", "_info", "_bucket", "_count", "_sum")
    }
    used = {
        name for panel in panels() for each in panel["targets"] for name in re.findall(r"\bmotet_[a-z_]+", each["expr"])
    }

    assert used - {"motet_failures", "motet_late"} <= exported


def test_each_query_sees_only_the_selected_release() -> None:
    own = 'namespace=~"$namespace",app_kubernetes_io_instance=~"$release"'
    for panel in panels():
        for target in panel["targets"]:
            for selector in re.findall(r"\b(?:motet_|modality:motet_)[a-z_:0-9]+(\{[^}]*\})?", target["expr"]):
                assert own in selector, target["expr"]


def test_the_energy_of_a_request_is_divided_by_the_busy_seconds_of_each_gpu(tmp_path: Path) -> None:
    (panel,) = (panel for panel in panels() if panel["title"] == "Energy of a request")
    expression = panel["targets"][0]["expr"].replace("$__rate_interval", "5m")
    own = 'namespace="n",app_kubernetes_io_instance="r"'
    for variable in ("namespace", "release"):
        expression = expression.replace(f'"${variable}"', '".*"')
    # GPU x is busy for 0.6 + 0.2 s a second and takes 200 W, GPU y is idle.
    values = {
        'gpu_busy_seconds_total{component="decoder",modality="image",gpu_uuid="x",instance="a"': "0+36x20",
        'gpu_busy_seconds_total{component="decoder",modality="audio",gpu_uuid="x",instance="b"': "0+12x20",
        'gpu_busy_seconds_total{component="decoder",modality="image",gpu_uuid="y",instance="c"': "0+0x20",
        'gpu_energy_joules_total{gpu_uuid="x",instance="a"': "0+12000x20",
        'gpu_energy_joules_total{gpu_uuid="x",instance="b"': "0+12000x20",
        'gpu_energy_joules_total{gpu_uuid="y",instance="c"': "0+6000x20",
        'request_gpu_seconds_count{component="decoder",modality="image"': "0+30x20",
        'request_gpu_seconds_count{component="decoder",modality="audio"': "0+20x20",
    }
    samples = [
        {"labels": '{component="decoder", modality="image"}', "value": 300},
        {"labels": '{component="decoder", modality="audio"}', "value": 150},
    ]
    content = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": f"motet_{name},{own}}}", "values": each} for name, each in values.items()],
                "promql_expr_test": [{"expr": f"round({expression})", "eval_time": "15m", "exp_samples": samples}],
            }
        ]
    }

    promtool("test", "rules", write_yaml(tmp_path / "energy.yaml", content))


def test_panels_do_not_overlap() -> None:
    for dashboard in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not taken & cells
            taken |= cells


def test_the_chart_makes_a_config_map_of_each_dashboard() -> None:
    made = of_kind("ConfigMap", {"grafana": {"enabled": True, "annotations": {"grafana_folder": "Motet"}}})
    maps = {name: each for name, each in made.items() if name.startswith("dashboard-")}

    assert maps.keys() == {f"dashboard-{path.stem}" for path in FILES}
    for path in FILES:
        each = maps[f"dashboard-{path.stem}"]
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Motet"}
        assert json.loads(each["data"][f"motet-{path.name}"]) == json.loads(path.read_text())


def test_without_the_setting_there_are_no_dashboards() -> None:
    assert not any(name.startswith("dashboard-") for name in of_kind("ConfigMap"))
