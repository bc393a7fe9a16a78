"""The benchmark `contention`, with toys."""

from __future__ import annotations

from itertools import count

import pytest

from services.benchmarks.suite import contention
from services.embedded import embedded
from services.factory import Factory


async def test_text_beside_decoders_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"_TEXT_RESPONSES": 1, "_DECODER_SECONDS": 0.05, "_CONTENTION_SECONDS": 0.05, "_SETTLE": 0.01}
    for name, value in seconds.items():
        monkeypatch.setattr(contention, name, value)
    factory = Factory.of_toys(delay=0.001)
    decoders = {modality: factory.decoder(modality) for modality in factory.manifest.independent}

    async with embedded(factory) as motet:
        deployment = contention.ContentionDeployment(motet, decoders, contention.long_jobs(factory.manifest))
        samples = await deployment.measure_round(count(1))

    assert min(*samples.alone, *samples.beside, *samples.steps_kept, *samples.total) > 0
    assert len(samples.steps_kept) == len(decoders)
    report = contention.report({contention.BACKGROUND: samples, contention.NORMAL: samples}, {})
    assert [figure.ratio for figure in report.figures[2:]] == [1, 1]


def test_the_samples_of_rounds_are_merged() -> None:
    rounds = [contention.ContentionSamples([1], [2], [3], [4]), contention.ContentionSamples([5], [6], [7], [8])]

    assert contention.ContentionSamples.merged(rounds) == contention.ContentionSamples([1, 5], [2, 6], [3, 7], [4, 8])
