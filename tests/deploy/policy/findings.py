"""The findings of checkov in the rendered chart and in the Dockerfile, compared with those that are accepted.

To run it, as `make policy` does: python -m tests.deploy.policy.findings CHECKOV
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml

from tests.deploy.chart import CI_VALUES, ROOT, ci_values, objects

ACCEPTED = Path(__file__).parent / "accepted.yaml"
DOCKERFILE = ROOT / "deploy" / "images" / "Dockerfile"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A failed check of one object. `place` is its kind and its name, or Dockerfile and an instruction."""

    check: str
    place: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Findings that are accepted for a reason: those of a check at the places that fit one of the patterns."""

    check: str
    places: tuple[str, ...]
    reason: str

    def fits(self, finding: Finding, pattern: str) -> bool:
        """Return whether a finding is accepted by one of the patterns."""
        return finding.check == self.check and fnmatchcase(finding.place, pattern)

    @classmethod
    def read(cls, text: str) -> list[Self]:
        """Return the entries of the file."""
        return [cls(each["check"], tuple(each["places"]), each["reason"]) for each in yaml.safe_load(text)]


def complaints(findings: Iterable[Finding], accepted: Iterable[Accepted]) -> list[str]:
    """Return a line for each finding that is not accepted, and for each pattern that no finding fits."""
    found = sorted(set(findings))
    patterns = [(entry, pattern) for entry in accepted for pattern in entry.places]
    new = [each for each in found if not any(entry.fits(each, pattern) for entry, pattern in patterns)]
    old = [(entry, pattern) for entry, pattern in patterns if not any(entry.fits(each, pattern) for each in found)]
    return [
        *(f"{each.check} {each.place}: {each.text}: correct it, or accept it in {ACCEPTED.name}" for each in new),
        *(f"{entry.check} {pattern} does not occur: remove it from {ACCEPTED.name}" for entry, pattern in old),
    ]


def findings_of(report: Any) -> list[Finding]:
    """Return the findings in checkov's JSON, which has a list of reports. Raises `ValueError` if it read no file."""
    found = []
    for each in report if isinstance(report, list) else [report]:
        if not each["summary"]["resource_count"] or each["summary"]["parsing_errors"]:
            raise ValueError(f"checkov read no {each['check_type']}: {each['summary']}")
        failed: list[Mapping[str, str]] = each["results"]["failed_checks"]
        found += [Finding(line["check_id"], place_of(line["resource"]), line["check_name"]) for line in failed]
    return found


def place_of(resource: str) -> str:
    """Return the place of a finding: checkov writes KIND.NAMESPACE.NAME, or /Dockerfile.INSTRUCTION."""
    if resource.startswith("/Dockerfile."):
        return resource.removeprefix("/").replace(".", "/")
    kind, _, name = resource.split(".")[:3]
    return f"{kind}/{name.removeprefix('demo-')}"


def scan(checkov: str) -> list[Finding]:
    """Return the findings in the objects of all files of values and in the Dockerfile. checkov uses no network."""
    with TemporaryDirectory() as folder:
        for name in CI_VALUES:
            Path(folder, f"{name}.yaml").write_text(yaml.safe_dump_all(objects(ci_values(name))))
        Path(folder, "Dockerfile").write_bytes(DOCKERFILE.read_bytes())
        command = [checkov, "-d", folder, "--framework", "kubernetes", "dockerfile", "--skip-download", "--soft-fail"]
        done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert {each["check_type"] for each in report} == {"kubernetes", "dockerfile"}
    return findings_of(report)


if __name__ == "__main__":
    lines = complaints(scan(sys.argv[1]), Accepted.read(ACCEPTED.read_text()))
    print(*lines or ["policy: every finding of checkov has a reason"], sep="\n")
    sys.exit(bool(lines))
