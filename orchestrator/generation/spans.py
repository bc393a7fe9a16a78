"""The spans of a generation's operations, with the names of the conventions for generative AI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from motet.core.errors import Reason
from motet.core.events import TEXT, Generation, State
from motet.core.plan import MediaJob
from motet.core.tracing import names
from motet.core.tracing.span import Span, ending, spanning, start_span

_FAILED = State.FAILED, State.PARTIAL
_CALLERS_REASONS = frozenset({Reason.CANCELLED, Reason.QUOTA_EXCEEDED, Reason.MODALITY_NOT_PERMITTED})
"""Reasons for which a generation ends early that are no fault of a service."""


def workflow(model: str, generation: str) -> spanning:
    """Return the context of a generation, whose span is the parent of those of its operations."""
    name, attributes = names.operation(names.INVOKE_WORKFLOW, model)
    return spanning(name, attributes={**attributes, names.RESPONSE_ID: generation})


def end_workflow(span: Span, record: Generation) -> None:
    """End the span of a generation as its record says. Do nothing if the record has no end."""
    if not span.recording or record.state is State.RUNNING:
        return
    usage = record.usage
    span.set(names.STATE, record.state.name.lower())
    span.set(names.INPUT_TOKENS, usage.input_tokens)
    span.set(names.OUTPUT_TOKENS, usage.output_tokens)
    if record.error is not None:
        span.fail(record.error.reason.value, is_fault=record.error.reason not in _CALLERS_REASONS)
    elif record.state in _FAILED and record.failures:
        # The answer lacks parts, whose own spans say why.
        span.fail(record.failures[0].error.reason.value, is_fault=record.state is State.FAILED)
    span.end()


def encoding(model: str, items: int) -> spanning:
    """Return the context of the encoding of a prompt's media."""
    name, attributes = names.operation(names.EMBEDDINGS, model)
    return spanning(name, attributes={**attributes, names.ITEMS: items})


def start_writing(model: str) -> Span:
    """Start the span of the language model's response."""
    name, attributes = names.operation(names.GENERATE_CONTENT, model)
    return start_span(name, attributes={**attributes, names.OUTPUT_TYPE: TEXT})


@contextmanager
def media_job(model: str, job: MediaJob, spans: dict[str, Span]) -> Iterator[None]:
    """Record a media job, with links to the jobs whose media it takes. `spans` has the span of each job by part id."""
    name, attributes = names.operation(names.GENERATE_CONTENT, f"{model}/{job.modality}")
    more = {names.OUTPUT_TYPE: job.modality, names.MODALITY: job.modality, names.PART: job.id}
    needs = [spans[need] for need in job.needs]
    with spanning(name, attributes={**attributes, **more}, links=needs) as spans[job.id]:
        yield


def fetching(model: str, generation: str, followed: Span) -> AbstractContextManager[None]:
    """Return the context of a caller that follows a generation that was started before.

    Its span has a link to the generation's.
    """
    name, attributes = names.operation(names.FETCH_RESPONSE, model)
    return ending(start_span(name, attributes={**attributes, names.RESPONSE_ID: generation}, links=(followed,)))
