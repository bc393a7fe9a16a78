import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core.errors import BundleError
from motet.models.llm.tokenizer import IncrementalDecoder, Tokenizer
from tests.models.tiny_bundle import tiny_bundle

CONTROL_SPELLINGS = ("<Img>", "</Img>", "[IMG0]", "[AUD7]", "[VID23]", "<s>", "</s>", "<unk>")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder)
    return folder / "llm" / "tokenizer.json"


@given(text=st.text())
def test_every_text_comes_back_as_it_was(path: Path, text: str) -> None:
    codec = Tokenizer.load(path)

    assert codec.decode(codec.encode(text)) == text


def test_a_tokenizer_that_knows_control_tokens_is_made_to_forget_them(path: Path, tmp_path: Path) -> None:
    values = json.loads(path.read_text())
    words = len(values["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    values["added_tokens"] = [
        {"id": words + i, "content": spelling, **flags} for i, spelling in enumerate(CONTROL_SPELLINGS)
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))

    codec = Tokenizer.load(tmp_path / "tokenizer.json")

    for spelling in CONTROL_SPELLINGS:
        ids = codec.encode(f"a {spelling} b")
        assert max(ids) < words
        assert codec.decode(ids) == f"a {spelling} b"


def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")


@given(text=st.text())
def test_spelling_gives_whole_characters_that_join_to_the_text(path: Path, text: str) -> None:
    codec = Tokenizer.load(path)
    spelling = IncrementalDecoder(codec)

    pieces = [spelling.feed(token) for token in codec.encode(text)] + [spelling.close()]

    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_spelling_shows_a_character_that_never_ends_when_it_closes(path: Path) -> None:
    codec = Tokenizer.load(path)
    spelling = IncrementalDecoder(codec)
    parts = codec.encode("é")

    assert spelling.feed(parts[0]) == ""
    assert spelling.close() == "\ufffd"
