"""Every name in a request: embedded and served give the same reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest

from motet.answers.answer_stream import collect_answer
from motet.core.errors import Reason
from motet.core.request import ArtifactName, GenerationRequest, Message
from motet.core.service import Motet
from tests.services.both import Both

HELLO = GenerationRequest((Message("user", ("hello",)),), allowed_modalities=frozenset())


async def watch(motet: Motet, name: str) -> None:
    [event async for event in motet.watch(name)]


async def download(motet: Motet, name: str) -> None:
    [chunk async for chunk in motet.download(name)]


async def attach(motet: Motet, name: str) -> None:
    await collect_answer(motet, replace(HELLO, turns=(Message("user", (ArtifactName(name), "what?")),)))


# The reason of a name that does not exist, or None.
CALLS: Mapping[str, tuple[str, Callable[[Motet, str], Awaitable[object]], Reason | None]] = {
    "get": ("generations", lambda motet, name: motet.get(name), Reason.GENERATION_NOT_FOUND),
    "cancel": ("generations", lambda motet, name: motet.cancel(name), Reason.GENERATION_NOT_FOUND),
    "watch": ("generations", watch, Reason.GENERATION_NOT_FOUND),
    "download": ("artifacts", download, Reason.ARTIFACT_NOT_FOUND),
    "delete": ("artifacts", lambda motet, name: motet.delete(name), None),
    "attach": ("artifacts", attach, Reason.ARTIFACT_NOT_FOUND),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_resource_name_has_the_same_outcome_embedded_and_served(both: Both, call: str) -> None:
    collection, method, unknown = CALLS[call]
    malformed = [
        "",
        "x",
        "/",
        "x/1",
        collection,
        *(f"{collection}/{name}" for name in ("", "A", "a/b", "a\n", "a" * 64)),
    ]
    expected = dict.fromkeys(malformed, Reason.INVALID_REQUEST) | {f"{collection}/a-{'1' * 61}": unknown}

    wrong = {}
    for name, reason in expected.items():
        outcomes = await both.outcomes(lambda motet, name=name: method(motet, name))
        if outcomes != [reason] * 2:
            wrong[name] = outcomes

    assert not wrong


@pytest.mark.parametrize(
    ("request_id", "reason"),
    [
        ("", None),
        ("123E4567-e89b-12d3-a456-426614174000", None),
        ("123e4567e89b12d3a456426614174000", Reason.INVALID_REQUEST),
        ("mine", Reason.INVALID_REQUEST),
        ("123e4567-e89b-12d3-a456-426614174000\n", Reason.INVALID_REQUEST),
    ],
)
async def test_a_request_id_has_the_same_outcome_embedded_and_served(
    both: Both, request_id: str, reason: Reason | None
) -> None:
    outcomes = await both.outcomes(lambda motet: collect_answer(motet, replace(HELLO, request_id=request_id)))

    assert outcomes == [reason] * 2


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("model", "m" * 128, Reason.MODEL_NOT_FOUND),
        ("model", "m" * 129, Reason.LIMIT_EXCEEDED),
        ("tenant", "t" * 64, None),
        ("tenant", "t" * 65, Reason.LIMIT_EXCEEDED),
    ],
)
async def test_a_long_name_has_the_same_outcome_embedded_and_served(
    both: Both, field: str, value: str, reason: Reason | None
) -> None:
    outcomes = await both.outcomes(lambda motet: collect_answer(motet, replace(HELLO, **{field: value})))

    assert outcomes == [reason] * 2


@pytest.mark.parametrize("token", ["x", "x" * 256])
async def test_a_page_token_of_another_server_is_invalid_embedded_and_served(both: Both, token: str) -> None:
    assert await both.outcomes(lambda motet: motet.generations(0, token)) == [Reason.INVALID_REQUEST] * 2
