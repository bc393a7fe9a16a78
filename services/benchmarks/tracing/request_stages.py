"""The stages of requests, computed from the spans of workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.generation.part_inputs import InputResolver
from orchestrator.generation.pipeline import seed_of
from services.benchmarks.tracing.critical_path import DecodeStage, RequestStages
from services.benchmarks.tracing.spans import ENCODER, LANGUAGE_MODEL, WorkerSpan


def spans_by_request(spans: Iterable[WorkerSpan], seeds: Iterable[int]) -> dict[int, list[WorkerSpan]]:
    """Group the spans of the language model and the decoders by the seed of their request.

    Spans of the encoder are left out, because an encoder call has no seed.
    """
    requests = set(seeds)
    spans = list(spans)
    grouped: dict[int, list[WorkerSpan]] = {
        span.seed: [span] for span in spans if span.worker == LANGUAGE_MODEL and span.seed in requests
    }
    request_of = {
        seed_of(seed, f"part-{index}"): seed
        for seed, (response,) in grouped.items()
        # Text parts can come before, between and after the media parts.
        for index in range(2 * len(response.signals) + 1)
    }
    for span in spans:
        if span.worker not in (ENCODER, LANGUAGE_MODEL) and span.seed in request_of:
            grouped[request_of[span.seed]].append(span)
    return grouped


def stages_of(spans: Sequence[WorkerSpan], takes: Mapping[str, Sequence[Sequence[str]]] | None = None) -> RequestStages:
    """Return the stages of one request. Each decode is matched with its signal by modality and order.

    `takes` maps a modality to its slots, see `Manifest.takes`. The request has no media. Raises `ValueError` if a
    worker did not finish.
    """
    by_worker: defaultdict[str, list[WorkerSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start):
        if span.finished:
            by_worker[span.worker].append(span)
    if not by_worker[LANGUAGE_MODEL]:
        raise ValueError("the language model did not finish")
    response = by_worker[LANGUAGE_MODEL][0]
    decodes: list[DecodeStage] = []
    resolver = InputResolver(takes or {})
    for number, (modality, signal_at) in enumerate(response.signals):
        if not by_worker[modality]:
            raise ValueError(f"the decoder of {modality} did not finish")
        needs = tuple(int(part) for each in resolver.resolve(modality) if isinstance(part := each.source, str))
        resolver.add(str(number), modality)
        decodes.append(DecodeStage(modality, signal_at, by_worker[modality].pop(0).busy, needs))
    encode = sum(span.busy for span in by_worker[ENCODER])
    return RequestStages(encode, response.busy, tuple(decodes))
