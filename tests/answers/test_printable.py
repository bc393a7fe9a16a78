"""Text for a terminal: no character of it can control the terminal, and every other character stays."""

from __future__ import annotations

import unicodedata

import pytest

from motet.answers.printable import printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x1b[2J\x9b31m", "\\x1b[2J\\x9b31m"),
        ("safe\b\b\b\bevil", "safe\\x08\\x08\\x08\\x08evil"),
        ("done\rfailed", "done\\rfailed"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\u2066x\u2069 \u200f \u061c", "\\u2066x\\u2069 \\u200f \\u061c"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_a_control_character_becomes_its_escape(text: str, shown: str) -> None:
    assert printable(text) == printable_line(text) == shown


def test_no_control_character_or_surrogate_passes() -> None:
    passed = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(chr(code)) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        if printable(chr(code)) == chr(code)
    ]

    assert passed == ["\t", "\n"]


def test_text_of_any_language_is_unchanged() -> None:
    text = "Höre, 日本語, עברית, العربية, \U0001f468\u200d\U0001f469\u200d\U0001f467!\n\tcode"

    assert printable(text) == text


def test_one_line_stays_one_line() -> None:
    assert printable_line("is ready\nmotet: forged\ttab") == "is ready\\nmotet: forged\\ttab"
