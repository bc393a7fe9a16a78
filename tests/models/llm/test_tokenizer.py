import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core.errors import BundleError
from motet.models.llm.tokenizer import IncrementalDecoder, Tokenizer
from tests.models.tiny_bundle import tiny_bundle

CONTROL_TOKENS = ("<Img>", "</Img>", "[IMG0]", "[AUD7]", "[VID23]", "<s>", "</s>", "<unk>")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder)
    return folder / "llm" / "tokenizer.json"


@given(text=st.text())
def test_every_text_decodes_to_itself(path: Path, text: str) -> None:
    tokenizer = Tokenizer.load(path)

    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_control_tokens_are_removed_from_a_tokenizer(path: Path, tmp_path: Path) -> None:
    values = json.loads(path.read_text())
    size = len(values["model"]["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    values["added_tokens"] = [
        {"id": size + i, "content": control_token, **flags} for i, control_token in enumerate(CONTROL_TOKENS)
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))

    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")

    for control_token in CONTROL_TOKENS:
        ids = tokenizer.encode(f"a {control_token} b")
        assert max(ids) < size
        assert tokenizer.decode(ids) == f"a {control_token} b"


def test_a_file_that_is_not_a_tokenizer_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")


@given(text=st.text())
def test_incremental_decoding_yields_whole_characters_that_join_to_the_text(path: Path, text: str) -> None:
    tokenizer = Tokenizer.load(path)
    decoder = IncrementalDecoder(tokenizer)

    pieces = [decoder.feed(token) for token in tokenizer.encode(text)] + [decoder.close()]

    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_an_incomplete_character_is_returned_when_the_decoder_closes(path: Path) -> None:
    tokenizer = Tokenizer.load(path)
    decoder = IncrementalDecoder(tokenizer)
    ids = tokenizer.encode("é")

    assert decoder.feed(ids[0]) == ""
    assert decoder.close() == "\ufffd"
