import pytest

from motet.models.llm.detokenizer import Detokenizer
from motet.models.llm.tokenizer import Tokenizer
from tests.models.llm import sentencepiece_tokenizers as sentencepiece
from tests.models.tiny_bundle import tiny_bundle


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder)
    return Tokenizer.load(folder / "llm" / "tokenizer.json")


@pytest.fixture(scope="module", params=[sentencepiece.prepend_and_strip, sentencepiece.metaspace])
def sentencepiece_tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(sentencepiece.write(request.param(), tmp_path_factory.mktemp("tokenizer")))


def detokenize(tokenizer: Tokenizer, texts: list[str]) -> tuple[str, bool]:
    """Return the detokenizer's text for separately tokenized texts, and whether it found the stop text."""
    detokenizer, output = Detokenizer(tokenizer), ""
    for text in texts:
        for token in tokenizer.encode(text):
            output += detokenizer.feed(token)
            if detokenizer.stopped:
                return output, True
    return output + detokenizer.close(), False


@pytest.mark.parametrize("stop", [["###"], ["#", "##"], ["##", "#"], ["\n###"], ["\n", "#", "#", "#"], [" ###"]])
def test_a_response_ends_before_the_stop_text_in_every_tokenization(tokenizer: Tokenizer, stop: list[str]) -> None:
    assert detokenize(tokenizer, [" Here it is.", *stop, " Human: and now?"]) == ("Here it is.", True)


def test_one_or_two_number_signs_are_text(tokenizer: Tokenizer) -> None:
    assert detokenize(tokenizer, [" C# and ", "##", " too"]) == ("C# and ## too", False)


def test_text_that_may_be_the_start_of_the_stop_text_is_held_back(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer)
    text = "".join(detokenizer.feed(token) for token in tokenizer.encode(" done\n##"))

    assert text == "done"
    assert detokenizer.flush() == "\n##"


def test_trailing_white_space_of_a_response_that_reached_its_limit_is_removed(tokenizer: Tokenizer) -> None:
    assert detokenize(tokenizer, [" so far \n"]) == ("so far", False)


def test_only_the_space_of_the_chat_template_is_removed_at_the_start(tokenizer: Tokenizer) -> None:
    assert detokenize(tokenizer, ["  two spaces"])[0] == " two spaces"


def test_a_long_response_keeps_every_space(sentencepiece_tokenizer: Tokenizer) -> None:
    text = "the cat sat on  the cat, " * 12 + "\n the end"

    assert detokenize(sentencepiece_tokenizer, [f" {text}"]) == (text, False)


def test_text_after_a_signal_run_keeps_its_space(sentencepiece_tokenizer: Tokenizer) -> None:
    detokenizer, output = Detokenizer(sentencepiece_tokenizer), ""
    for text in (" the cat", " sat", " on the cat"):
        output += (
            "".join(detokenizer.feed(token) for token in sentencepiece_tokenizer.encode(text)) + detokenizer.flush()
        )

    assert output == "the cat sat on the cat"


@pytest.mark.parametrize("stop", [["\u2581###"], ["###"], ["#", "#", "#"], ["<0x0A>", "###"], ["\u2581", "##", "#"]])
def test_a_response_of_a_sentencepiece_vocabulary_ends_before_the_stop_text(
    sentencepiece_tokenizer: Tokenizer, stop: list[str]
) -> None:
    detokenizer, output = Detokenizer(sentencepiece_tokenizer), ""
    for token in [*sentencepiece_tokenizer.encode(" the cat"), *map(sentencepiece.token, stop)]:
        output += detokenizer.feed(token)

    assert (output, detokenizer.stopped) == ("the cat", True)


def test_the_second_space_at_the_start_of_a_response_is_text(sentencepiece_tokenizer: Tokenizer) -> None:
    assert detokenize(sentencepiece_tokenizer, ["  two spaces"])[0] == " two spaces"
