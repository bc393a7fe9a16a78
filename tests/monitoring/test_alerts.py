"""The alerts of the chart, evaluated by Prometheus itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import HelmError

from motet.core.telemetry.families.generation_metrics import FIRST_TEXT_SECONDS, MEDIA_JOB_SECONDS
from motet.core.telemetry.service_metrics import families
from tests.deploy.chart import CHART, ROOT
from tests.monitoring.prometheus import alerts, promtool, rules, write_yaml

CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load((Path(__file__).parent / "alert_cases.yaml").read_text())
RUNBOOKS = ROOT / "docs" / "runbooks"


def promtool_test(alert: str, severity: str, case: dict[str, Any]) -> dict[str, Any]:
    """Return a test of promtool. It compares annotations, too, so the rules must have none."""
    series = []
    for name, values in case["series"].items():
        metric, _, labels = name.removesuffix("}").partition("{")
        series.append({"series": f'{metric}{{{labels}{"," if labels else ""}job="motet"}}', "values": values})
    fires = [{"exp_labels": {"severity": severity, "job": "motet", **labels}} for labels in case["fires"]]
    expected = {"eval_time": case["at"], "alertname": f"Motet{alert}", "exp_alerts": fires}
    return {"name": case["name"], "interval": interval_of(alert), "input_series": series, "alert_rule_test": [expected]}


def interval_of(alert: str) -> str:
    """Return the time between two values of a case. A day of minutes takes promtool half a minute."""
    return "30m" if alert.endswith("Slowly") else "1m"


def run_cases(folder: Path, groups: dict[str, Any], cases: dict[str, list[dict[str, Any]]]) -> None:
    """Let promtool evaluate cases. Raises `AssertionError` with what differs."""
    indicators = next(group for group in groups["groups"] if group["name"] == "motet-indicators")
    files = []
    for name, each in cases.items():
        alert = {key: value for key, value in alerts(groups)[name].items() if key != "annotations"}
        # Only the rules that the alert needs: all of them would take promtool ten times as long.
        own = [indicators] if "BurnsFast" in name or "BurnsSlowly" in name else []
        write_yaml(folder / f"{name}.yaml", {"groups": [*own, {"name": "alert", "rules": [alert]}]})
        tests = [promtool_test(name, alert["labels"]["severity"], case) for case in each]
        content = {
            "rule_files": [f"{name}.yaml"],
            "evaluation_interval": interval_of(name),
            # Otherwise the order is random, and an alert may not see what is recorded at the same time.
            "group_eval_order": [*(group["name"] for group in own), "alert"],
            "tests": tests,
        }
        files.append(write_yaml(folder / f"{name}-test.yaml", content))
    promtool("test", "rules", *files)


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", write_yaml(tmp_path / "rules.yaml", rules()))


def test_each_alert_fires_in_an_incident_and_not_without_one(tmp_path: Path) -> None:
    run_cases(tmp_path, rules(), CASES)


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    assert CASES.keys() == alerts(rules()).keys()
    for name, cases in CASES.items():
        assert {bool(case["fires"]) for case in cases} == {True, False}, name


def test_a_rule_without_its_threshold_fails_its_cases(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="MotetOldestWait"):
        run_cases(tmp_path, rules({"alerts": {"OldestWait": {"threshold": 10}}}), {"OldestWait": CASES["OldestWait"]})


def test_each_alert_has_a_severity_a_modality_a_summary_and_a_page_with_what_to_do() -> None:
    for name, alert in alerts(rules()).items():
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert "modality" in alert["labels"] or "by (modality)" in (CHART / "alerts.yaml").read_text()
        assert {"summary", "description", "runbook_url"} == alert["annotations"].keys()
        page = RUNBOOKS / Path(alert["annotations"]["runbook_url"]).name
        assert page.exists(), f"write {page} for {name}"
        assert f"Motet{name}" in page.read_text()


def test_each_page_with_what_to_do_is_about_an_alert() -> None:
    linked = {Path(alert["annotations"]["runbook_url"]).name for alert in alerts(rules()).values()}

    assert {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"} == linked


def test_rules_use_metrics_that_motet_exports() -> None:
    described = [family.describe()[0] for family in families()]
    exported = {family.name + suffix for family in described for suffix in ("", "_total", "_info", "_bucket", "_count")}
    used = set(re.findall(r"\bmotet_[a-z_]+", (CHART / "alerts.yaml").read_text())) - {"motet_failures", "motet_late"}

    assert used
    assert used <= exported


def test_an_alert_can_be_changed_and_switched_off() -> None:
    changed = alerts(
        rules(
            {
                "alerts": {
                    "OldestWait": {"threshold": 20, "for": "3m", "severity": "critical"},
                    "QueueFull": {"enabled": False},
                    "LatencyBurnsFast": {"enabled": False},
                }
            }
        )
    )

    assert changed["OldestWait"]["expr"].endswith("> 20")
    assert changed["OldestWait"]["for"] == "3m"
    assert changed["OldestWait"]["labels"]["severity"] == "critical"
    assert not {"QueueFull", "LatencyBurnsFast"} & changed.keys()


def test_a_threshold_of_zero_is_used() -> None:
    changed = alerts(rules({"alerts": {"OldestWait": {"threshold": 0}}}))

    assert changed["OldestWait"]["expr"].endswith("> 0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"OldestWeight": {"enabled": False}}, "there is no such alert; use one of .*OldestWait"),
        ({"TargetDown": {"threshold": 3}}, "this alert has no threshold"),
    ],
)
def test_a_change_without_effect_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError, match=message):
        rules({"alerts": changes})


def test_a_modality_can_have_a_time_of_its_own(tmp_path: Path) -> None:
    slow_clip = {
        "name": "clips of 100 s are in time, pictures of 100 s are not",
        "series": {
            'motet_media_job_duration_seconds_bucket{modality="video",le="60.0"}': "0+0x70",
            'motet_media_job_duration_seconds_bucket{modality="video",le="120.0"}': "0+10x70",
            'motet_media_job_duration_seconds_count{modality="video"}': "0+10x70",
            'motet_media_job_duration_seconds_bucket{modality="image",le="60.0"}': "0+0x70",
            'motet_media_job_duration_seconds_count{modality="image"}': "0+10x70",
        },
        "at": "65m",
        "fires": [{"modality": "image"}],
    }
    groups = rules({"objectives": {"latencySeconds": {"default": 60, "text": 5, "video": 120}}})

    run_cases(tmp_path, groups, {"LatencyBurnsFast": [slow_clip]})


def test_the_objectives_are_bounds_of_the_histograms() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    objectives = schema["properties"]["prometheusRule"]["properties"]["objectives"]["properties"]
    bounds = objectives["latencySeconds"]["additionalProperties"]["enum"]

    for family in (MEDIA_JOB_SECONDS, FIRST_TEXT_SECONDS):
        assert list(family._kwargs["buckets"]) == bounds


def test_the_rules_of_a_release_see_only_its_series() -> None:
    own = 'app_kubernetes_io_instance="demo",namespace="ml"'
    for group in rules({"selector": {}})["groups"]:
        for rule in group["rules"]:
            for selector in re.findall(r"(?:motet_|modality:motet_)[a-z_:0-9]+(\{[^}]*\})?", rule["expr"]):
                assert own in selector, rule
            if "record" in rule:
                assert rule["labels"] == {"app_kubernetes_io_instance": "demo", "namespace": "ml"}
