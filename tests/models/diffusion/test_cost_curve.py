"""How many songs are sung at once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from motet.models.diffusion.cost_curve import CostCurve, default_folder, subject_of

OF = {"bundle": "b", "device": "d"}


def taught(curve: CostCurve, gains: dict[int, float], influence: dict[int, float] | None = None) -> CostCurve:
    """Tries what the curve wants to try, until it is content or there is nothing more to tell."""
    for size, gain in gains.items():
        while curve.to_try(size):
            curve.learn(size, size / gain, float(size), (influence or {}).get(size, 0.0))
    return curve


def test_a_song_is_alone_until_more_were_tried() -> None:
    curve = CostCurve()
    assert curve.size(1) == 1
    assert curve.size(8) == 2
    assert curve.to_try(2)
    assert not curve.allows(2)


def test_the_size_that_gains_most_is_taken() -> None:
    curve = taught(CostCurve(), {2: 1.5, 3: 2.0, 4: 1.9, 5: 1.8})
    assert [curve.size(waiting) for waiting in (1, 2, 3, 4, 9)] == [1, 2, 3, 3, 3]


def test_of_sizes_that_gain_as_much_the_least_is_taken() -> None:
    curve = taught(CostCurve(), {2: 1.5, 3: 2.0, 4: 2.03, 5: 2.05})
    assert [curve.size(waiting) for waiting in (3, 4, 9)] == [3, 3, 3]


def test_nothing_is_shared_where_that_does_not_pay() -> None:
    curve = taught(CostCurve(), {2: 0.9, 3: 1.01})
    assert [curve.size(waiting) for waiting in (2, 3, 9)] == [1, 1, 1]


def test_a_size_that_changes_a_result_by_a_bit_is_not_used_and_no_larger_one_tried() -> None:
    curve = taught(CostCurve(), {2: 1.5, 3: 2.0}, {3: 1e-7})
    assert [curve.size(waiting) for waiting in (2, 3, 9)] == [2, 2, 2]
    assert not curve.allows(3)


def test_one_trial_that_changes_a_result_is_enough() -> None:
    curve = CostCurve()
    curve.learn(2, 1.0, 2.0, 1e-7)
    assert curve.size(9) == 1


def test_a_difference_that_is_allowed_is_taken() -> None:
    curve = taught(CostCurve(batch_tolerance=1e-6), {2: 1.5, 3: 2.0, 4: 2.0, 5: 2.0}, {3: 1e-7})
    assert curve.size(9) == 3


def test_a_size_that_memory_does_not_suffice_for_is_not_used() -> None:
    curve = taught(CostCurve(batch_tolerance=1e-6), {2: 1.5})
    curve.learn(3, math.inf, 3.0, math.inf)
    assert curve.size(9) == 2


def test_the_first_trial_of_a_size_is_a_rehearsal() -> None:
    curve = CostCurve()
    curve.learn(2, 100.0, 2.0, 0.0)
    assert curve.size(2) == 2
    while curve.to_try(2):
        curve.learn(2, 1.0, 2.0, 0.0)
    assert curve.costs[2].gain == 2.0


def test_the_pace_follows_from_the_turns_that_a_song_waits() -> None:
    curve = CostCurve()
    assert curve.pace(1) is None
    curve.observe(1, 2.0)
    assert curve.pace(1) == 2.0
    assert curve.pace(3) == 6.0
    taught(curve, {2: 2.0, 3: 1.0, 4: 1.0})
    curve.observe(2, 2.0)
    assert curve.pace(4) == 4.0


def test_what_was_learnt_outlives_the_process(tmp_path: Path) -> None:
    before = taught(CostCurve(folder=tmp_path, of=OF), {2: 1.5, 3: 2.0, 4: 1.0, 5: 1.0})
    after = CostCurve(folder=tmp_path, of=OF)
    assert after.costs == before.costs
    assert after.size(9) == 3
    assert after.pace(1) == pytest.approx(1.0)


def test_a_curve_of_something_else_is_not_read(tmp_path: Path) -> None:
    taught(CostCurve(folder=tmp_path, of=OF), {2: 1.5})
    assert not CostCurve(folder=tmp_path, of=OF | {"device": "other"}).costs
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"of": {}}))
    assert not CostCurve(folder=tmp_path, of=OF).costs


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"of": {"bundle": "b", "device": "d"}}', "\udcff"])
def test_a_broken_file_is_as_good_as_none_and_is_mended(tmp_path: Path, content: str) -> None:
    taught(CostCurve(folder=tmp_path, of=OF), {2: 1.5})
    (file,) = tmp_path.iterdir()
    file.write_text(content, errors="surrogateescape")
    assert not CostCurve(folder=tmp_path, of=OF).costs
    taught(CostCurve(folder=tmp_path, of=OF), {2: 1.5})
    assert CostCurve(folder=tmp_path, of=OF).costs


def test_where_nothing_can_be_stored_it_is_learnt_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert taught(CostCurve(folder=tmp_path / "file", of=OF), {2: 1.5, 3: 1.0}).size(2) == 2


def test_a_curve_is_of_one_bundle_one_processor_and_one_number_of_threads() -> None:
    subject = subject_of("digest", "image", torch.device("cpu"))
    assert subject["bundle"] == "digest"
    assert subject["threads"] == str(torch.get_num_threads())
    assert set(subject) == {"bundle", "modality", "device", "threads", "torch", "edition"}


def test_curves_are_kept_in_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "motet" / "costs"
