"""What is typed becomes a request, or is refused by its option's name."""

from __future__ import annotations

import pytest

from motet.core.errors import RequestError
from motet.core.media import Media
from motet.core.request import DecoderOptions
from services.cli.request_options import request_options_of, user_turn


def test_steps_and_guidance_meet_in_one_decoders_options() -> None:
    wishes = request_options_of(7, 2.5, None, ["image=20", "audio=4"], ["image=1.5"])

    request = wishes.request([user_turn("hello", [])])

    assert request.decoder_options == {"image": DecoderOptions(20, 1.5), "audio": DecoderOptions(4, None)}
    assert (request.seed, request.timeout, request.allowed_modalities) == (7, 2.5, None)


@pytest.mark.parametrize(
    ("only", "allowed"),
    [(None, None), ("text", frozenset()), ("image", {"image"}), (" text, image ,audio", {"image", "audio"})],
)
def test_only_is_a_ceiling_and_text_is_always_allowed(only: str | None, allowed: frozenset[str] | None) -> None:
    assert request_options_of(None, None, only, (), ()).request([]).allowed_modalities == allowed


@pytest.mark.parametrize("typed", ["image", "image=", "image=many", "=", ""])
def test_a_pair_that_is_none_is_refused_by_its_options_name(typed: str) -> None:
    with pytest.raises(RequestError, match="--steps takes MODALITY=NUMBER"):
        request_options_of(None, None, None, [typed], ())
    with pytest.raises(RequestError, match="--guidance takes MODALITY=NUMBER"):
        request_options_of(None, None, None, (), [typed])


def test_leave_to_take_fewer_steps_and_urgency_reach_the_request() -> None:
    request = request_options_of(None, 3.0, None, ["image=20"], (), ["image=5", "audio=2"], 2).request([])

    assert request.decoder_options == {
        "image": DecoderOptions(20, None, 5),
        "audio": DecoderOptions(None, None, 2),
    }
    assert request.priority == 2


@pytest.mark.parametrize("number", ["1.5", "nan", "inf"])
def test_half_a_step_is_refused(number: str) -> None:
    with pytest.raises(RequestError, match="--steps takes a whole number for image"):
        request_options_of(None, None, None, [f"image={number}"], ())
    with pytest.raises(RequestError, match="--min-steps takes a whole number for image"):
        request_options_of(None, None, None, (), (), [f"image={number}"])


def test_media_come_before_what_is_said_about_them() -> None:
    media = Media("image/png", b"...")

    assert user_turn("what is this?", [media]).parts == (media, "what is this?")
    assert user_turn("", [media]).parts == (media,)
    assert user_turn("", []).parts == ("",)
