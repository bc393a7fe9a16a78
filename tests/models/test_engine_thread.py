"""Tests of the engine's thread, which runs while there is work and never loses an item."""

from __future__ import annotations

import threading

import pytest
import torch

from motet.core.errors import OverloadedError, Reason, RetryableError
from motet.models.engine_thread import EngineThread, engine_error


class Countdown:
    """An engine whose items are numbers of remaining steps."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.remaining: list[int] = []
        self.steps = 0
        self.failures: list[BaseException] = []
        self.closed = False
        self.finished = threading.Event()
        self.thread: EngineThread[int] = EngineThread("test engine", self.step, self.fail)

    def step(self, arrived: list[int], closed: bool) -> bool:
        self.remaining += arrived
        self.closed = closed
        if self.error is not None and self.remaining:
            raise self.error
        if closed:
            self.remaining = []
        self.remaining = [steps - 1 for steps in self.remaining if steps > 1]
        self.steps += 1
        if not self.remaining:
            self.finished.set()
        return bool(self.remaining)

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.remaining = []
        self.finished.set()


def test_steps_are_computed_until_no_work_is_left() -> None:
    engine = Countdown()
    engine.thread.submit(5)

    assert engine.finished.wait(10)
    engine.thread.close()
    assert engine.remaining == []
    assert engine.steps >= 5


def test_an_idle_thread_starts_again_with_the_next_item() -> None:
    engine = Countdown()
    for _ in range(50):
        engine.finished.clear()
        engine.thread.submit(1)
        assert engine.finished.wait(10)

    engine.thread.close()
    assert engine.thread.idle


def test_an_error_stops_the_work_and_not_the_thread() -> None:
    engine = Countdown(ValueError("broken"))
    engine.thread.submit(3)
    assert engine.finished.wait(10)
    assert [str(error) for error in engine.failures] == ["broken"]

    engine.error = None
    engine.finished.clear()
    engine.thread.submit(1)
    assert engine.finished.wait(10)
    engine.thread.close()


def test_closing_gives_running_work_a_last_step_and_refuses_new_work() -> None:
    engine = Countdown()
    engine.thread.submit(10**9)
    engine.thread.close()

    assert engine.closed
    assert engine.remaining == []
    with pytest.raises(RetryableError, match="the test engine is closing"):
        engine.thread.submit(1)


def test_a_lack_of_gpu_memory_becomes_an_overload_that_names_the_engine() -> None:
    cause = torch.OutOfMemoryError("CUDA out of memory")
    error = engine_error(cause, "test engine")

    assert isinstance(error, OverloadedError)
    assert error.reason is Reason.OUT_OF_MEMORY
    assert "the test engine ran out of GPU memory" in error.message
    assert error.__cause__ is cause


def test_any_other_error_is_reported_unchanged() -> None:
    error = ValueError("broken")

    assert engine_error(error, "test engine") is error


def test_an_item_that_arrives_during_the_last_step_is_not_lost() -> None:
    received: list[int] = []
    finished = threading.Event()

    def step(arrived: list[int], closed: bool) -> bool:
        received.extend(arrived)
        if received == [1]:
            thread.submit(2)  # The step reports no work left, although an item has arrived.
        if 2 in received:
            finished.set()
        return False

    thread: EngineThread[int] = EngineThread("test engine", step, lambda error: received.clear())
    thread.submit(1)

    assert finished.wait(10)
    thread.close()
    assert received == [1, 2]
