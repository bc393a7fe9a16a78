"""The batch size of a step."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch

from motet.models.diffusion import cost_curve
from motet.models.diffusion.cost_curve import CostCurve, default_folder, subject_of

SUBJECT = {"bundle": "b", "device": "d"}


def measured(curve: CostCurve, gains: dict[int, float], differences: dict[int, float] | None = None) -> CostCurve:
    """Run the trials of the curve: a batch of each size gains `gains` and makes `differences` (default 0)."""
    for size, gain in gains.items():
        while curve.to_try(size):
            curve.learn(size, size / gain, float(size), (differences or {}).get(size, 0.0))
    return curve


def test_a_batch_size_is_used_only_after_its_trials() -> None:
    curve = CostCurve()
    assert curve.size(1) == 1
    assert curve.size(8) == 2
    assert curve.to_try(2)
    assert not curve.allows(2)


def test_the_size_with_the_highest_gain_is_used() -> None:
    curve = measured(CostCurve(), {2: 1.5, 3: 2.0, 4: 1.9, 5: 1.8})
    assert [curve.size(waiting) for waiting in (1, 2, 3, 4, 9)] == [1, 2, 3, 3, 3]


def test_the_smallest_of_equally_fast_sizes_is_used() -> None:
    curve = measured(CostCurve(), {2: 1.5, 3: 2.0, 4: 2.03, 5: 2.05})
    assert [curve.size(waiting) for waiting in (3, 4, 9)] == [3, 3, 3]


def test_jobs_are_not_batched_if_no_batch_is_faster() -> None:
    curve = measured(CostCurve(), {2: 0.9, 3: 1.01})
    assert [curve.size(waiting) for waiting in (2, 3, 9)] == [1, 1, 1]


def test_a_size_that_changes_a_result_is_not_used_and_no_larger_size_is_tried() -> None:
    curve = measured(CostCurve(), {2: 1.5, 3: 2.0}, {3: 1e-7})
    assert [curve.size(waiting) for waiting in (2, 3, 9)] == [2, 2, 2]
    assert not curve.allows(3)


def test_one_trial_that_changes_a_result_excludes_its_size() -> None:
    curve = CostCurve()
    curve.learn(2, 1.0, 2.0, 1e-7)
    assert curve.size(9) == 1


def test_a_difference_within_the_tolerance_is_accepted() -> None:
    curve = measured(CostCurve(batch_tolerance=1e-6), {2: 1.5, 3: 2.0, 4: 2.0, 5: 2.0}, {3: 1e-7})
    assert curve.size(9) == 3


def test_a_size_that_needs_too_much_memory_is_not_used() -> None:
    curve = measured(CostCurve(batch_tolerance=1e-6), {2: 1.5})
    curve.learn(3, math.inf, 3.0, math.inf)
    assert curve.size(9) == 2


def test_the_seconds_of_the_first_trial_of_a_size_do_not_count() -> None:
    curve = CostCurve()
    curve.learn(2, 100.0, 2.0, 0.0)
    assert curve.size(2) == 2
    while curve.to_try(2):
        curve.learn(2, 1.0, 2.0, 0.0)
    assert curve.costs[2].gain == 2.0


def test_the_predicted_seconds_grow_with_the_batches_that_a_job_waits_for() -> None:
    curve = CostCurve()
    assert curve.step_seconds(1) is None
    curve.observe(1, 2.0)
    assert curve.step_seconds(1) == 2.0
    assert curve.step_seconds(3) == 6.0
    measured(curve, {2: 2.0, 3: 1.0, 4: 1.0})
    curve.observe(2, 2.0)
    assert curve.step_seconds(4) == 4.0


def test_measured_costs_are_read_again_by_the_next_curve(tmp_path: Path) -> None:
    first = measured(CostCurve(folder=tmp_path, subject=SUBJECT), {2: 1.5, 3: 2.0, 4: 1.0, 5: 1.0})
    second = CostCurve(folder=tmp_path, subject=SUBJECT)
    assert second.costs == first.costs
    assert second.size(9) == 3
    assert second.step_seconds(1) == pytest.approx(1.0)


def test_a_curve_of_another_subject_is_not_read(tmp_path: Path) -> None:
    measured(CostCurve(folder=tmp_path, subject=SUBJECT), {2: 1.5})
    assert not CostCurve(folder=tmp_path, subject=SUBJECT | {"device": "other"}).costs
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"subject": {}}))
    assert not CostCurve(folder=tmp_path, subject=SUBJECT).costs


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"subject": {"bundle": "b", "device": "d"}}', "\udcff"])
def test_a_broken_file_is_ignored_and_replaced(tmp_path: Path, content: str) -> None:
    measured(CostCurve(folder=tmp_path, subject=SUBJECT), {2: 1.5})
    (file,) = tmp_path.iterdir()
    file.write_text(content, errors="surrogateescape")
    assert not CostCurve(folder=tmp_path, subject=SUBJECT).costs
    measured(CostCurve(folder=tmp_path, subject=SUBJECT), {2: 1.5})
    assert CostCurve(folder=tmp_path, subject=SUBJECT).costs


def test_without_a_writable_folder_the_curve_is_still_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert measured(CostCurve(folder=tmp_path / "file", subject=SUBJECT), {2: 1.5, 3: 1.0}).size(2) == 2


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    measured(CostCurve(folder=tmp_path / "costs", subject=SUBJECT), {2: 1.5, 3: 1.0})
    (file,) = (tmp_path / "costs").iterdir()
    (tmp_path / "victim").write_text("mine")
    file.with_suffix(f".{os.getpid()}").symlink_to(tmp_path / "victim")
    file.unlink()

    measured(CostCurve(folder=tmp_path / "costs", subject=SUBJECT), {2: 1.5, 3: 1.0})

    assert (tmp_path / "victim").read_text() == "mine"


def test_the_subject_names_the_bundle_the_processor_and_the_number_of_threads() -> None:
    subject = subject_of("digest", "image", torch.device("cpu"), torch.float32)
    assert subject["bundle"] == "digest"
    assert subject["threads"] == str(torch.get_num_threads())
    assert set(subject) == {"bundle", "modality", "device", "dtype", "threads", "torch", "edition"}


def test_a_curve_of_another_edition_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = subject_of("digest", "image", torch.device("cpu"), torch.float32)
    measured(CostCurve(folder=tmp_path, subject=before), {2: 1.5})
    assert CostCurve(folder=tmp_path, subject=before).costs
    monkeypatch.setattr(cost_curve, "_EDITION", "next")
    after = subject_of("digest", "image", torch.device("cpu"), torch.float32)
    assert not CostCurve(folder=tmp_path, subject=after).costs


def test_curves_are_stored_in_the_user_s_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "motet" / "costs"
