"""Parsed metrics, and the rates of counters between two readings."""

from __future__ import annotations

import pytest

from services.cli.top.reading import MetricsReading, rates_between
from services.metric_samples import MAX_LINE, MetricSamples, exposition_of
from tests.services.cli.top.expositions import DECODER, ORCHESTRATOR, changed


def rates(before: str, after: str, seconds: float = 10.0) -> MetricSamples:
    first = MetricsReading(100.0, exposition_of(before))
    return rates_between(first, MetricsReading(100.0 + seconds, exposition_of(after)))


def test_a_rate_is_the_increase_per_second_of_each_series() -> None:
    after = changed(ORCHESTRATOR, motet_llm_tokens_total__output=350.0, process_cpu_seconds_total=15.0)

    measured = rates(ORCHESTRATOR, after)

    assert measured.total("motet_llm_tokens_total", direction="output") == 25.0
    assert measured.total("motet_llm_tokens_total", direction="input") == 0.0
    assert measured.total("process_cpu_seconds_total") == 0.5


def test_a_counter_that_fell_began_at_0_again() -> None:
    after = changed(ORCHESTRATOR, motet_llm_tokens_total__output=30.0)

    assert rates(ORCHESTRATOR, after).total("motet_llm_tokens_total", direction="output") == 3.0


def test_all_counters_of_a_restarted_process_began_at_0_again() -> None:
    after = changed(ORCHESTRATOR, process_start_time_seconds=1005.0, motet_llm_tokens_total__output=150.0)

    # Without the start time, the increase would be 50.
    assert rates(ORCHESTRATOR, after).total("motet_llm_tokens_total", direction="output") == 15.0


def test_a_series_that_appears_was_0_before() -> None:
    parts = "# TYPE motet_parts_total counter\n"
    after = ORCHESTRATOR.replace(parts, parts + 'motet_parts_total{modality="audio",reason=""} 5.0\n')

    assert rates(ORCHESTRATOR, after).total("motet_parts_total", modality="audio") == 0.5


def test_a_metric_without_a_type_has_no_rate() -> None:
    assert rates("a_total 1\n", "a_total 2\n").of("a_total") == []


def test_the_mean_of_a_histogram_is_that_of_the_observations_between_the_readings() -> None:
    after = changed(DECODER, motet_decoder_batch_size_count__image=14.0, motet_decoder_batch_size_sum__image=36.0)

    assert rates(DECODER, after).mean("motet_decoder_batch_size", modality="image") == 4.0
    assert rates(DECODER, DECODER).mean("motet_decoder_batch_size", modality="image") is None


def test_two_readings_at_one_time_have_finite_rates() -> None:
    after = changed(ORCHESTRATOR, motet_llm_tokens_total__output=101.0)

    assert rates(ORCHESTRATOR, after, 0.0).total("motet_llm_tokens_total", direction="output") == 1000.0


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_a_value_that_is_not_finite_is_left_out(value: str) -> None:
    exposition = exposition_of(f"# TYPE a gauge\na {value}\n# TYPE b_total counter\nb_total {value}\n")

    assert exposition.gauges.of("a") == exposition.counters.of("b_total") == []
    assert exposition.names == {"a", "b"}


@pytest.mark.parametrize("text", ["<html>", 'a{b="x', 'a{b="' + '\\"' * MAX_LINE + '"} 1'])
def test_another_format_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="could not convert|characters|invalid metric name"):
        exposition_of(text)
