import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models

from motet.core.errors import BundleError
from motet.models.llm.tokenizer import IncrementalDecoder, Tokenizer
from tests.models.llm import sentencepiece_tokenizers as sentencepiece
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


@pytest.mark.parametrize(
    "model",
    [
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((letter, -5.0) for letter in "<>/s ")], 0),
        models.BPE({"<unk>": 0, "</s>": 1, "<": 2, "/": 3, "s": 4, ">": 5}, [], unk_token="<unk>", ignore_merges=True),
    ],
    ids=["a unigram vocabulary", "a vocabulary without merges"],
)
def test_a_tokenizer_that_converts_text_to_a_control_token_is_refused(model: models.Model, tmp_path: Path) -> None:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    with pytest.raises(BundleError, match="converts the text '</s>' to a control token"):
        Tokenizer.load(tmp_path / "tokenizer.json")


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


@pytest.fixture(scope="module", params=[sentencepiece.prepend_and_strip, sentencepiece.metaspace])
def sentencepiece_tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(sentencepiece.write(request.param(), tmp_path_factory.mktemp("tokenizer")))


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\u2581\ufffd"), min_size=1))
def test_incremental_decoding_of_a_sentencepiece_vocabulary_yields_the_text_after_one_space(
    sentencepiece_tokenizer: Tokenizer, text: str
) -> None:
    decoder = IncrementalDecoder(sentencepiece_tokenizer)

    pieces = [decoder.feed(token) for token in sentencepiece_tokenizer.encode(f" {text}")] + [decoder.close()]

    assert "".join(pieces) == f" {text}"
    assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_continue_no_character_become_replacement_characters(sentencepiece_tokenizer: Tokenizer) -> None:
    decoder = IncrementalDecoder(sentencepiece_tokenizer)
    tokens = [sentencepiece.token(f"<0x{byte:02X}>") for byte in (*"\u20ac".encode(), 0x80)]
    tokens += sentencepiece_tokenizer.encode(" cat")

    pieces = [decoder.feed(token) for token in tokens] + [decoder.close()]

    assert "".join(pieces) == "\u20ac\ufffd cat"


def test_endless_incomplete_characters_are_returned_in_time(sentencepiece_tokenizer: Tokenizer) -> None:
    decoder = IncrementalDecoder(sentencepiece_tokenizer)

    pieces = [decoder.feed(sentencepiece.token("<0xE2>")) for _ in range(300)]

    assert max(map(len, pieces)) < 100
    assert "".join(pieces) + decoder.close() == "\ufffd" * 300


def test_a_tokenizer_neither_truncates_nor_pads_a_text(path: Path, tmp_path: Path) -> None:
    """A tokenizer file may contain the truncation of its training."""
    values = json.loads(path.read_text())
    values["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    values["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "!",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))

    text = "a text of many tokens"
    assert Tokenizer.load(tmp_path / "tokenizer.json").encode(text) == Tokenizer.load(path).encode(text)
