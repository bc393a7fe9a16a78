import fcntl
import sys
from pathlib import Path

import pytest

from motet.training.pipeline import PipelineStep, TrainingPipeline


def appending(file: Path, text: str, fails_without: Path | None = None) -> tuple[str, ...]:
    """Return a command that appends a text to a file, and fails before it unless another file exists."""
    check = f"open({str(fails_without)!r}).close(); " if fails_without else ""
    return (sys.executable, "-c", f"{check}open({str(file)!r}, 'a').write({text!r})")


def test_a_step_starts_after_the_steps_that_it_needs(tmp_path: Path) -> None:
    order = tmp_path / "order"
    steps = [
        PipelineStep("first", appending(order, "1")),
        PipelineStep("second", appending(order, "2"), ("first",)),
        PipelineStep("third", appending(order, "3"), ("second",)),
    ]

    assert TrainingPipeline(steps, tmp_path / "stages").run() == []
    assert order.read_text() == "123"


def test_a_failed_step_stops_only_the_steps_that_need_it_and_runs_again(tmp_path: Path) -> None:
    order, missing = tmp_path / "order", tmp_path / "missing"
    steps = [
        PipelineStep("broken", appending(order, "b", fails_without=missing)),
        PipelineStep("after", appending(order, "a"), ("broken",)),
        PipelineStep("other", appending(order, "o")),
    ]
    pipeline = TrainingPipeline(steps, tmp_path / "stages", slots=1)

    assert pipeline.run() == ["broken", "after"]
    assert order.read_text() == "o"
    assert any("FileNotFoundError" in line for line in pipeline.status())

    missing.touch()
    assert pipeline.run() == []
    assert order.read_text() == "oba"
    assert all(line.endswith("complete") for line in pipeline.status())


def test_two_processes_cannot_run_the_same_pipeline(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        with pytest.raises(BlockingIOError):
            TrainingPipeline([], tmp_path).run()


def test_a_step_that_needs_a_later_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step 'early' needs \\['late'\\]"):
        TrainingPipeline([PipelineStep("early", (), ("late",)), PipelineStep("late", ())], tmp_path)
