"""From the spans of workers to the stages of requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from orchestrator.generation.pipeline import seed_of
from services.benchmarks.tracing.critical_path import Making, Stages
from services.benchmarks.tracing.spans import ENCODER, LANGUAGE_MODEL, Span


def by_request(spans: Iterable[Span], seeds: Iterable[int]) -> dict[int, list[Span]]:
    """The spans of the language model and of decoders under the seed of the request that they belong to.

    An encoder's calls name no request, and are left out.
    """
    requests = set(seeds)
    spans = list(spans)
    found: dict[int, list[Span]] = {
        span.seed: [span] for span in spans if span.worker == LANGUAGE_MODEL and span.seed in requests
    }
    owner = {
        seed_of(seed, f"part-{place}"): seed
        for seed, (writing,) in found.items()
        # Text may stand before, between and after the media.
        for place in range(2 * len(writing.marks) + 1)
    }
    for span in spans:
        if span.worker not in (ENCODER, LANGUAGE_MODEL) and span.seed in owner:
            found[owner[span.seed]].append(span)
    return found


def stages_of(spans: Sequence[Span]) -> Stages:
    """The stages of one request whose every worker finished, each piece of media at the signal that asked for it.

    Raises `ValueError` where a worker's span is missing.
    """
    by_worker: defaultdict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.begun):
        if span.whole:
            by_worker[span.worker].append(span)
    if not by_worker[LANGUAGE_MODEL]:
        raise ValueError("the language model did not finish")
    writing = by_worker[LANGUAGE_MODEL][0]
    makings = []
    for modality, after in writing.marks:
        if not by_worker[modality]:
            raise ValueError(f"the decoder of {modality} did not finish")
        makings.append(Making(modality, after, by_worker[modality].pop(0).busy))
    encode = sum(span.busy for span in by_worker[ENCODER])
    return Stages(encode, writing.busy, tuple(makings))
