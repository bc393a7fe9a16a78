"""The thread of an engine: it runs while there is work, and never loses an item."""

from __future__ import annotations

import threading

import pytest

from motet.core.errors import RetryableError
from motet.models.engine_thread import EngineThread


class Countdown:
    """An engine whose items are numbers of steps."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.left: list[int] = []
        self.steps = 0
        self.failures: list[BaseException] = []
        self.closed = False
        self.finished = threading.Event()
        self.thread: EngineThread[int] = EngineThread("test engine", self.step, self.fail)

    def step(self, arrived: list[int], closed: bool) -> bool:
        self.left += arrived
        self.closed = closed
        if self.error is not None and self.left:
            raise self.error
        if closed:
            self.left = []
        self.left = [each - 1 for each in self.left if each > 1]
        self.steps += 1
        if not self.left:
            self.finished.set()
        return bool(self.left)

    def fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.left = []
        self.finished.set()


def test_steps_are_computed_until_no_work_is_left() -> None:
    engine = Countdown()
    engine.thread.submit(5)

    assert engine.finished.wait(10)
    engine.thread.close()
    assert engine.left == []
    assert engine.steps >= 5


def test_an_idle_thread_starts_again_with_the_next_item() -> None:
    engine = Countdown()
    for _ in range(50):
        engine.finished.clear()
        engine.thread.submit(1)
        assert engine.finished.wait(10)

    engine.thread.close()
    assert engine.thread.idle


def test_an_error_ends_the_work_and_not_the_thread() -> None:
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
    assert engine.left == []
    with pytest.raises(RetryableError, match="the test engine is closing"):
        engine.thread.submit(1)
