"""Options of a request: typed options become a request, and an error names the option."""

from __future__ import annotations

import pytest

from motet.answers.options import user_message
from motet.core.errors import RequestError
from motet.core.media import Media
from motet.core.request import DecoderOptions
from services.cli.request_options import request_options_of


def test_steps_and_guidance_of_a_modality_become_one_decoder_options() -> None:
    options = request_options_of(
        {"seed": 7, "timeout": 2.5, "only": None, "steps": ["image=20", "audio=4"], "guidance": ["image=1.5"]}
    )

    request = options.request([user_message("hello", [])])

    assert request.decoder_options == {"image": DecoderOptions(20, 1.5), "audio": DecoderOptions(4, None)}
    assert (request.seed, request.timeout, request.allowed_modalities) == (7, 2.5, None)


@pytest.mark.parametrize(
    ("only", "allowed"),
    [
        (None, None),
        (["text"], frozenset()),
        (["image"], {"image"}),
        ([" text, image ,audio"], {"image", "audio"}),
        (["image", "audio"], {"image", "audio"}),
    ],
)
def test_only_limits_the_media_and_always_allows_text(only: list[str] | None, allowed: frozenset[str] | None) -> None:
    assert request_options_of({"only": only}).request([]).allowed_modalities == allowed


@pytest.mark.parametrize("typed", ["image", "image=", "image=many", "=", ""])
def test_a_wrong_pair_is_refused_by_the_name_of_its_option(typed: str) -> None:
    with pytest.raises(RequestError, match="--steps takes MODALITY=NUMBER"):
        request_options_of({"steps": [typed]})
    with pytest.raises(RequestError, match="--guidance takes MODALITY=NUMBER"):
        request_options_of({"guidance": [typed]})


def test_minimum_steps_and_priority_reach_the_request() -> None:
    request = request_options_of(
        {"timeout": 3.0, "steps": ["image=20"], "min_steps": ["image=5", "audio=2"], "priority": 2}
    ).request([])

    assert request.decoder_options == {
        "image": DecoderOptions(20, None, 5),
        "audio": DecoderOptions(None, None, 2),
    }
    assert request.priority == 2


@pytest.mark.parametrize("number", ["1.5", "nan", "inf"])
def test_a_fraction_of_a_step_is_refused(number: str) -> None:
    with pytest.raises(RequestError, match="--steps takes a whole number for image"):
        request_options_of({"steps": [f"image={number}"]})
    with pytest.raises(RequestError, match="--min-steps takes a whole number for image"):
        request_options_of({"min_steps": [f"image={number}"]})


def test_media_come_before_the_text_of_a_message() -> None:
    media = Media("image/png", b"...")

    assert user_message("what is this?", [media]).parts == (media, "what is this?")
    assert user_message("", [media]).parts == (media,)
    assert user_message("", []).parts == ("",)
