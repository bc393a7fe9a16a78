"""Tests of text coalescing and captions."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.generation.text_coalescer import TextCoalescer, caption_of
from tests.waiting import in_virtual_time


@in_virtual_time
async def test_the_first_text_is_sent_at_once_and_later_text_together():
    sent = []
    coalescer = TextCoalescer(sent.append, 0.01)
    for letter in "abcd":
        coalescer.write(letter)
    assert sent == ["a"]

    await asyncio.sleep(0.02)

    assert sent == ["a", "bcd"]


@in_virtual_time
async def test_text_after_a_pause_is_sent_at_once():
    sent = []
    coalescer = TextCoalescer(sent.append, 0.005)
    coalescer.write("a")
    await asyncio.sleep(0.01)

    coalescer.write("b")

    assert sent == ["a", "b"]


@in_virtual_time
async def test_flush_sends_the_pending_text_once():
    sent = []
    coalescer = TextCoalescer(sent.append, 0.005)
    coalescer.write("a")
    coalescer.write("b")

    coalescer.flush()
    coalescer.flush()
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
