"""The names of values in files: an unknown one is refused with the nearest known one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from motet.core.bundle import MANIFEST, Bundle, Manifest
from motet.core.errors import BundleError
from motet.core.files.field_errors import message_of, nearest_name
from motet.toys.manifest import TOY


@pytest.mark.parametrize(
    ("place", "key", "nearest"),
    [
        ((), "licens", "licence"),
        (("encoder",), "modalitys", "modalities"),
        (("encoder", "preprocessing"), "chanels", "channels"),
        (("language_model",), "maxtokens", "max_tokens"),
        (("signals", "image"), "take", "takes"),
        (("decoders", "image"), "guidence", "guidance"),
    ],
)
def test_a_misspelt_key_of_a_manifest_is_refused_with_the_nearest_key(
    place: tuple[str, ...], key: str, nearest: str, tmp_path: Path
) -> None:
    values = TOY.model_dump(mode="json")
    entry = values
    for step in place:
        entry = entry[step]
    entry[key] = 1
    (tmp_path / MANIFEST).write_text(yaml.safe_dump(values))

    with pytest.raises(
        BundleError, match=rf"{'.'.join((*place, key))}: there is no such key; the nearest is {nearest}$"
    ):
        Bundle.load(tmp_path)


def test_other_errors_keep_their_message() -> None:
    values = TOY.model_dump(mode="json") | {"licence": 1}
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate(values)

    assert message_of(caught.value.errors()[0], Manifest) == "Input should be a valid string"


def test_a_long_name_is_compared_in_a_short_time() -> None:
    began = time.process_time()
    assert nearest_name("licence" + "licens" * 100_000, Manifest.model_fields) in Manifest.model_fields

    assert time.process_time() - began < 0.1


def test_there_is_no_nearest_name_without_names() -> None:
    assert nearest_name("a", ()) == ""
