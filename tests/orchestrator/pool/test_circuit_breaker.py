"""A replica that fails again and again is left alone for a while, then tried by one call."""

from __future__ import annotations

from random import Random

from orchestrator.pool.circuit_breaker import CircuitBreaker


def breaker():
    return CircuitBreaker(3, 1.0, Random(1))


def tripped(at=0.0):
    made = breaker()
    for _ in range(3):
        made.start()
    assert [made.fail(at) for _ in range(3)] == [False, False, True]
    return made


def test_failures_in_a_row_eject_and_a_success_between_them_does_not_let_it_come_to_that():
    made = breaker()
    for _ in range(10):
        assert not made.fail(0.0)
        assert not made.fail(0.0)
        made.succeed()
        assert made.allows(0.0)

    assert not tripped().allows(0.0)


def test_it_is_probed_by_one_call_at_a_time_when_its_time_is_over():
    made = tripped(at=100.0)

    assert 100.8 <= made.until <= 101.2, "a second, longer or shorter by a fifth at most"
    assert not made.allows(made.until - 0.01)
    assert made.allows(made.until)
    made.start()
    assert not made.allows(made.until)
    made.ignore()
    assert made.allows(made.until), "a probe that was broken off proves nothing, and the next may go"


def test_a_probe_that_succeeds_readmits_and_one_that_fails_ejects_for_twice_as_long():
    made = tripped()
    spans, moment = [], 0.0
    for _ in range(9):
        spans.append(made.until - moment)
        moment = made.until
        made.start()
        assert made.fail(moment)
    made.start()
    made.succeed()

    assert all(0.8 * 2**n <= span <= 1.2 * 2**n for n, span in enumerate(spans[:6]))
    assert all(48 <= span <= 72 for span in spans[6:]), "a minute at most, before jitter"
    assert made.allows(moment)
    assert not made.fail(moment), "it begins anew"


def test_calls_that_were_under_way_when_it_was_ejected_do_not_eject_it_further():
    made = tripped()
    until = made.until

    assert not made.fail(0.5)
    assert made.until == until
