import pytest

from motet.models.llm.detokenizer import Detokenizer
from motet.models.llm.tokenizer import Tokenizer
from tests.models.tiny_bundle import tiny_bundle


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder)
    return Tokenizer.load(folder / "llm" / "tokenizer.json")


def read(codec: Tokenizer, pieces: list[str]) -> tuple[str, bool]:
    """The text that comes out, until it stops or is closed."""
    outlet, out = Detokenizer(codec), ""
    for piece in pieces:
        for token in codec.encode(piece):
            out += outlet.feed(token)
            if outlet.stopped:
                return out, True
    return out + outlet.close(), False


@pytest.mark.parametrize("mark", [["###"], ["#", "##"], ["##", "#"], ["\n###"], ["\n", "#", "#", "#"], [" ###"]])
def test_an_answer_ends_before_the_stop_in_every_tokenisation(codec: Tokenizer, mark: list[str]) -> None:
    assert read(codec, [" Here it is.", *mark, " Human: and now?"]) == ("Here it is.", True)


def test_one_or_two_marks_are_text(codec: Tokenizer) -> None:
    assert read(codec, [" C# and ", "##", " too"]) == ("C# and ## too", False)


def test_text_that_may_be_the_beginning_of_a_stop_waits(codec: Tokenizer) -> None:
    outlet = Detokenizer(codec)
    said = "".join(outlet.feed(token) for token in codec.encode(" done\n##"))

    assert said == "done"
    assert outlet.flush() == "\n##"


def test_white_space_at_the_end_of_a_cut_off_answer_is_left_out(codec: Tokenizer) -> None:
    assert read(codec, [" so far \n"]) == ("so far", False)


def test_only_the_space_of_the_transcript_is_taken_from_the_beginning(codec: Tokenizer) -> None:
    assert read(codec, ["  two spaces"])[0] == " two spaces"
