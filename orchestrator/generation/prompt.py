"""The prompt of the language model: the conversation with embeddings in place of its media."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from motet.core.tensors import Tensor
from motet.core.workers import NOT_ENCODED, Embedding, Prompt, Turn
from orchestrator.generation.admitted_request import AdmittedRequest, AdmittedTurn


def prompt_of(request: AdmittedRequest, embeddings: Sequence[Tensor]) -> Prompt:
    """Return the prompt of a request. `embeddings` are those of its attachments, in order."""
    remaining = iter(embeddings)
    return Prompt(
        turns=tuple(_encoded_turn(turn, remaining) for turn in request.turns),
        ceilings=request.ceilings,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        tenant=request.tenant,
        priority=request.priority,
    )


def _encoded_turn(turn: AdmittedTurn, embeddings: Iterator[Tensor]) -> Turn:
    """Return a turn with its media replaced by their embeddings, which are the next items of `embeddings`."""
    parts = (
        part
        if isinstance(part, str)
        else Embedding(part.modality, next(embeddings) if turn.role == "user" else NOT_ENCODED)
        for part in turn.parts
    )
    return Turn(turn.role, tuple(parts))
