"""Findings of checkov: a new one and an entry that does not occur are reported. `make policy` runs checkov itself."""

from __future__ import annotations

import pytest

from tests.deploy.chart import ROOT
from tests.deploy.policy.findings import ACCEPTED, Accepted, Finding, complaints, findings_of

ENTRY = Accepted("CKV_K8S_1", ("Pod/test-*", "Job/*"), "a reason")


def test_a_finding_that_fits_an_entry_is_accepted() -> None:
    found = [Finding("CKV_K8S_1", "Pod/test-image"), Finding("CKV_K8S_1", "Job/weights")]

    assert complaints(found, [ENTRY]) == []


@pytest.mark.parametrize("finding", [Finding("CKV_K8S_2", "Pod/test-image", "a"), Finding("CKV_K8S_1", "Pod/b", "a")])
def test_a_finding_without_an_entry_is_reported(finding: Finding) -> None:
    accepted = [Finding("CKV_K8S_1", "Pod/test-image"), Finding("CKV_K8S_1", "Job/weights")]

    (line,) = complaints([*accepted, finding], [ENTRY])

    assert line == f"{finding.check} {finding.place}: a: correct it, or accept it in accepted.yaml"


def test_a_pattern_that_no_finding_fits_is_reported() -> None:
    assert complaints([Finding("CKV_K8S_1", "Pod/test-image")], [ENTRY]) == [
        "CKV_K8S_1 Job/* does not occur: remove it from accepted.yaml"
    ]


def test_findings_are_read_from_the_json_of_checkov() -> None:
    summary = {"resource_count": 1, "parsing_errors": 0}
    failed = [
        {"check_id": "CKV_K8S_43", "resource": "Deployment.ml.demo-llm", "check_name": "Image should use digest"},
        {"check_id": "CKV_DOCKER_7", "resource": "/Dockerfile.FROM", "check_name": "A tag"},
    ]
    report = {"check_type": "kubernetes", "summary": summary, "results": {"failed_checks": failed}}

    assert findings_of([report]) == [
        Finding("CKV_K8S_43", "Deployment/llm", "Image should use digest"),
        Finding("CKV_DOCKER_7", "Dockerfile/FROM", "A tag"),
    ]


def test_a_report_of_nothing_is_an_error() -> None:
    nothing = {"check_type": "dockerfile", "summary": {"resource_count": 0, "parsing_errors": 0}}

    with pytest.raises(ValueError, match="checkov read no dockerfile"):
        findings_of([nothing])


def test_every_accepted_finding_has_a_reason_and_a_place() -> None:
    entries = Accepted.read(ACCEPTED.read_text())

    assert all(len(entry.reason) > 30 and entry.places for entry in entries)
    assert len({entry.check for entry in entries}) == len(entries)


def test_the_checks_of_every_commit_run_checkov_at_a_pinned_version() -> None:
    makefile = (ROOT / "Makefile").read_text()
    requirements = (ACCEPTED.parent / "requirements.txt").read_text()

    assert "\ncheck: lint types layers contract site policy " in makefile
    assert all("==" in line for line in requirements.splitlines())
    assert "checkov==" in requirements
