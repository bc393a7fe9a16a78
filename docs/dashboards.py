"""The Grafana dashboards of the chart, and their page. deploy/grafana is a link to their folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    VariableOption,
    VariableRefresh,
)

_OWN = 'namespace=~"$namespace",app_kubernetes_io_instance=~"$release"'
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 12, 8
"""Size of a panel. The grid has 24 columns."""
_INTRODUCTION = """# Dashboards

`deploy/grafana` has dashboards for Grafana 10.1 and later. Import the files, or let the chart make ConfigMaps of them
for Grafana's sidecar with `grafana.enabled`. The variables select the data source, the namespace and the release.
Without Kubernetes, leave both at *All*.

The alerts are on [their own page](runbooks/README.md). In the formulas below, the matchers of the release are left out,
and `$rate` is Grafana's `$__rate_interval`.

![The dashboard Pipeline under load](dashboard.png)

The picture is drawn from a Prometheus that scraped `motet up` with the nano model on two cores, with the queries of the
panels: `python -m tests.monitoring.dashboard_picture docs/dashboard.png`.
"""
_SOURCE_FILE = Path(__file__).with_suffix(".yaml")

Panel = dict[str, Any]
Rows = dict[str, list[Panel]]


def dashboard_files(note: str) -> Iterator[tuple[str, str]]:
    """Yield the path from the folder docs and the text of each file. `note` begins the page."""
    dashboards = yaml.safe_load(_SOURCE_FILE.read_text())
    for title, content in dashboards.items():
        text = JSONEncoder(sort_keys=True, indent=1).encode(_dashboard(title, **content).build())
        yield f"../deploy/helm/motet/dashboards/{title.lower()}.json", f"{text}\n"
    yield "dashboards.md", note + _INTRODUCTION + "".join(_page(dashboards))


def expression(query: str, own: str, rate: str) -> str:
    """Return a query with the matchers of a release and the interval of rates."""
    return query.replace("$own", own).replace("$rate", rate)


def _dashboard(title: str, purpose: str, rows: Rows) -> dashboard.Dashboard:
    built = (
        dashboard.Dashboard(f"Motet / {title}")
        .uid(f"motet-{title.lower()}")
        .description(purpose)
        .tags(["motet"])
        .readonly()
        .time("now-3h", "now")
        .refresh("30s")
        .link(dashboard.DashboardLink("Motet").type(DashboardLinkType.DASHBOARDS).tags(["motet"]).include_vars(True))
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Data source"))
        .with_variable(_label_variable("namespace", "namespace", "Namespace", "motet_build_info"))
        .with_variable(
            _label_variable(
                "release", "app_kubernetes_io_instance", "Release", 'motet_build_info{namespace=~"$namespace"}'
            )
        )
    )
    y = 0
    for name, panels in rows.items():
        built = built.with_row(dashboard.Row(name).grid_pos(GridPos(h=1, w=24, x=0, y=y)))
        y += 1
        for index, panel in enumerate(panels):
            place = GridPos(h=_HEIGHT, w=_WIDTH, x=_WIDTH * (index % 2), y=y + _HEIGHT * (index // 2))
            built = built.with_panel(_graph(panel, place))
        y += _HEIGHT * -(-len(panels) // 2)
    return built


def _label_variable(name: str, label: str, title: str, series: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(title)
        .datasource(_SOURCE)
        .query(f"label_values({series}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        # A release outside Kubernetes lacks the label, and `.*` matches also that.
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
        .multi(True)
    )


def _graph(panel: Panel, place: GridPos) -> timeseries.Panel:
    graph = (
        timeseries.Panel()
        .title(panel["title"])
        # Links of the page lead nowhere in Grafana.
        .description(re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", panel["use"]))
        .datasource(_SOURCE)
        .unit(panel["unit"])
        .min(0)
        .grid_pos(place)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for letter, (legend, query) in zip("ABCDEFGH", panel["queries"].items(), strict=False):
        graph = graph.with_target(
            prometheus.Dataquery()
            .ref_id(letter)
            .datasource(_SOURCE)
            .expr(expression(query, _OWN, "$__rate_interval"))
            .legend_format(legend)
            .exemplar("_bucket" in query)
        )
    return graph


def _page(dashboards: dict[str, Any]) -> Iterator[str]:
    for title, content in dashboards.items():
        yield f"\n## {title}\n\n{content['purpose']}\n"
        for row, panels in content["rows"].items():
            yield f"\n### {title}: {row}\n\n| panel | formula | use |\n|---|---|---|\n"
            for panel in panels:
                formulas = "<br>".join(f"`{expression(each, '', '$rate')}`" for each in panel["queries"].values())
                formulas = formulas.replace("{,", "{").replace("{}", "").replace("|", "\\|")
                yield f"| {panel['title']} | {formulas} | {panel['use']} |\n"
