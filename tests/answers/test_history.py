"""The history of a conversation: what a request contains, and what it leaves out after an error."""

from __future__ import annotations

import pytest

from motet.answers.history import History, StoredMedia
from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.request import ArtifactName, Message
from tests.scripted_motet import PICTURE, artifact_of

STORED = StoredMedia(PICTURE, artifact_of(PICTURE))
NAME = ArtifactName(artifact_of(PICTURE).name)
TOO_MANY = RequestError("too many turns", Reason.LIMIT_EXCEEDED)
EXPIRED = NotFoundError("expired", Reason.ARTIFACT_NOT_FOUND)


def history_of(count: int) -> History:
    history = History()
    for number in range(count):
        history.add([f"prompt {number}"], [f"answer {number}", STORED])
    return history


def prompts_of(history: History) -> list[object]:
    return [message.parts[0] for message in history.messages(["next"]) if message.role == "user"]


def test_a_request_has_all_exchanges_and_names_their_media() -> None:
    history = history_of(1)
    history.add([STORED, "two"], [])

    assert history.messages(["next"]) == (
        Message("user", ("prompt 0",)),
        Message("assistant", ("answer 0", NAME)),
        Message("user", (NAME, "two")),
        Message("user", ("next",)),
    )


@pytest.mark.parametrize("reason", [Reason.LIMIT_EXCEEDED, Reason.INPUT_TOO_LARGE])
def test_each_refusal_leaves_out_more_of_the_oldest_exchanges(reason: Reason) -> None:
    history = history_of(9)
    error, left = RequestError("too much", reason), []

    while history.recover(error):
        left.append(len(prompts_of(history)) - 1)

    assert left == [8, 6, 2, 0]
    assert len(prompts_of(history)) == 10, "the last prompt alone is too large, so nothing is left out"


def test_an_answered_request_forgets_what_it_left_out() -> None:
    history = history_of(3)
    assert history.recover(TOO_MANY)

    history.add(["prompt 3"], ["answer 3"])

    assert prompts_of(history) == ["prompt 1", "prompt 2", "prompt 3", "next"]
    assert history.left_out == 1


def test_expired_media_are_sent_as_bytes_once() -> None:
    history = history_of(1)

    assert history.recover(EXPIRED)
    assert history.messages(["next"])[1].parts[1] == PICTURE
    assert not history.recover(EXPIRED)
    assert history.messages(["next"])[1].parts[1] == NAME


@pytest.mark.parametrize("reason", [Reason.INVALID_REQUEST, Reason.MODALITY_NOT_SUPPORTED])
def test_other_errors_change_nothing(reason: Reason) -> None:
    history = history_of(2)

    assert not history.recover(RequestError("no", reason))
    assert len(prompts_of(history)) == 3
