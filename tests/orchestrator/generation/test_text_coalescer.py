"""Text in pieces worth sending, and the captions found in it."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.generation.text_coalescer import TextCoalescer, caption_of


async def test_the_first_piece_goes_out_at_once_and_the_next_together():
    sent = []
    prose = TextCoalescer(sent.append, 0.01)
    for letter in "abcd":
        prose.write(letter)
    assert sent == ["a"]

    await asyncio.sleep(0.02)

    assert sent == ["a", "bcd"]


async def test_after_a_pause_a_piece_goes_out_at_once_again():
    sent = []
    prose = TextCoalescer(sent.append, 0.005)
    prose.write("a")
    await asyncio.sleep(0.01)

    prose.write("b")

    assert sent == ["a", "b"]


async def test_flushing_sends_what_waits_and_nothing_comes_twice():
    sent = []
    prose = TextCoalescer(sent.append, 0.005)
    prose.write("a")
    prose.write("b")

    prose.flush()
    prose.flush()
    await asyncio.sleep(0.01)

    assert sent == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ("", ""),
        ("  \n ", ""),
        ("a penguin", "a penguin"),
        ("Sure! Here is one. A penguin on ice:\n", "A penguin on ice:"),
        ("First.  Second? ", "Second?"),
        ("It costs 3.50 today", "It costs 3.50 today"),
        ("\u4e00\u3002 \u4e8c\u3002", "\u4e8c\u3002"),
        ("x" * 3000, "x" * 1000),
    ],
)
def test_a_caption_is_the_last_sentence(text, caption):
    assert caption_of(text) == caption
