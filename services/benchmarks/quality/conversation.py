"""Conversations with the whole system: each turn is answered before the next one is sent."""

from __future__ import annotations

import numpy as np

from motet.answers.answer import Answer, AnswerBuilder, TextPart
from motet.core.events import Done, PlanGrown, PlanNode
from motet.core.request import ArtifactName, Content, GenerationRequest, Message
from motet.core.service import Motet
from services.benchmarks.quality.cases import attachment
from services.benchmarks.quality.suite import SuiteCase
from services.benchmarks.quality.suite_judge import ConversationAnswer


async def converse(motet: Motet, case: SuiteCase, seed: int, rng: np.random.Generator) -> ConversationAnswer:
    """Send the turns of a case, one after the other, and return the last answer.

    An earlier answer becomes a turn of the assistant. Its media are artifacts, which keep their modality. Bytes of an
    animation would become a clip. Raise the error of a generation that fails.
    """
    messages: list[Message] = []
    for turn in case.turns:
        parts = tuple(part if isinstance(part, str) else attachment(part, rng) for part in turn)
        messages.append(Message("user", parts))
        answer, plan = await _answer(motet, GenerationRequest(tuple(messages), seed=seed))
        messages.append(Message("assistant", tuple(_content(answer))))
    return ConversationAnswer(answer.text, plan, tuple((part.modality, part.content) for part in answer.media))


def _content(answer: Answer) -> list[Content]:
    content: list[Content] = []
    for part in answer.parts:
        if isinstance(part, TextPart):
            content += [part.content] if part.content else []
        else:
            content.append(ArtifactName(part.artifact.name) if part.artifact else part.content)
    return content


async def _answer(motet: Motet, request: GenerationRequest) -> tuple[Answer, tuple[PlanNode, ...]]:
    builder = AnswerBuilder(motet)
    plan: tuple[PlanNode, ...] = ()
    async for event in motet.generate(request):
        await builder.add(event)
        if isinstance(event.payload, PlanGrown):
            plan = event.payload.nodes
        if isinstance(event.payload, Done):
            return builder.answer(event.payload.generation), plan
    raise AssertionError("a generation ends with `Done`")
