"""Tests of the generated pages and of the page of errors: they say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys

from motet.core.errors import Reason
from motet.transport.status import CODE_OF
from tests.docs.blocks import ROOT


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_the_page_of_errors_lists_every_reason_with_its_status() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", text, re.MULTILINE)

    assert dict(rows) == {reason.value: CODE_OF[reason].name for reason in Reason}


def test_every_variable_that_a_page_names_is_a_setting() -> None:
    settings = (ROOT / "docs" / "reference" / "settings.md").read_text()
    pages = ["operations.md", "troubleshooting.md", "command-line.md", "architecture.md"]
    named = {name for page in pages for name in re.findall(r"MOTET_[A-Z_]+", (ROOT / "docs" / page).read_text())}

    assert {name for name in named if f"`{name}`" not in settings} == set()
