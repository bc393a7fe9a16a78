"""Pictures of the nano world. Most tests are skipped if the emoji packages are not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.training.nano.world import pictures
from motet.training.nano.world.world import BACKGROUNDS, NOUNS
from tests.training.nano.packages import needs_emoji


@needs_emoji
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_corners_of_a_picture_have_the_colour_of_its_background(background: str) -> None:
    picture = pictures.draw("pizza", background)
    assert picture.shape == (64, 64, 3)
    assert tuple(picture[0, 0]) == BACKGROUNDS[background]


@needs_emoji
@pytest.mark.parametrize("style", pictures.STYLES)
def test_no_two_nouns_have_equal_pictures(style: str) -> None:
    assert len({pictures.draw(noun, "white", style).tobytes() for noun in NOUNS}) == len(NOUNS)


def test_without_the_packages_the_error_names_the_packages_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTET_EMOJI", str(tmp_path))
    pictures._emoji.cache_clear()
    with pytest.raises(FileNotFoundError, match="npm install emoji-datasource-google"):
        pictures.draw("dog", "red")
