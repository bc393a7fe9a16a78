"""Tests of the circuit breaker: ejection, probes and readmission."""

from __future__ import annotations

from random import Random

from orchestrator.pool.circuit_breaker import CircuitBreaker


def new_breaker():
    return CircuitBreaker(3, 1.0, Random(1))


def ejected_breaker(at=0.0):
    breaker = new_breaker()
    for _ in range(3):
        breaker.start()
    assert [breaker.fail(at) for _ in range(3)] == [False, False, True]
    return breaker


def test_consecutive_failures_eject_and_a_success_resets_their_count():
    breaker = new_breaker()
    for _ in range(10):
        assert not breaker.fail(0.0)
        assert not breaker.fail(0.0)
        breaker.succeed()
        assert breaker.allows(0.0)

    assert not ejected_breaker().allows(0.0)


def test_after_the_ejection_one_call_at_a_time_is_a_probe():
    breaker = ejected_breaker(at=100.0)

    assert 100.8 <= breaker.until <= 101.2, "one second, with a jitter of a fifth"
    assert not breaker.allows(breaker.until - 0.01)
    assert breaker.allows(breaker.until)
    breaker.start()
    assert not breaker.allows(breaker.until)
    breaker.ignore()
    assert breaker.allows(breaker.until), "a probe that was stopped shows nothing, so another probe is allowed"


def test_a_successful_probe_readmits_and_a_failed_probe_doubles_the_ejection():
    breaker = ejected_breaker()
    durations, moment = [], 0.0
    for _ in range(9):
        durations.append(breaker.until - moment)
        moment = breaker.until
        breaker.start()
        assert breaker.fail(moment)
    breaker.start()
    breaker.succeed()

    assert all(0.8 * 2**n <= seconds <= 1.2 * 2**n for n, seconds in enumerate(durations[:6]))
    assert all(48 <= seconds <= 72 for seconds in durations[6:]), "at most a minute, before jitter"
    assert breaker.allows(moment)
    assert not breaker.fail(moment), "the count of failures starts at zero"


def test_calls_that_were_running_at_the_ejection_do_not_extend_it():
    breaker = ejected_breaker()
    until = breaker.until

    assert not breaker.fail(0.5)
    assert breaker.until == until


def test_an_outage_of_any_length_ejects_for_at_most_a_minute():
    breaker, moment = ejected_breaker(), 0.0
    for _ in range(5000):
        breaker.start()
        assert breaker.fail(moment)
        assert breaker.until - moment <= 72
        moment = breaker.until


def test_a_replica_that_is_back_after_an_outage_is_probed_at_once():
    breaker = ejected_breaker()
    for _ in range(5):
        breaker.start()
        breaker.fail(breaker.until)
    moment = breaker.until - 20
    assert not breaker.allows(moment)
    breaker.recover(moment)

    assert breaker.allows(moment)
    breaker.start()
    assert not breaker.allows(moment), "one call at a time is a probe"
    breaker.fail(moment)
    assert breaker.until - moment <= 1.2, "the ejections of the outage do not count"


def test_a_replica_that_was_not_ejected_stays_admitted_when_it_is_back():
    breaker = new_breaker()
    breaker.recover(1.0)

    assert breaker.until is None
