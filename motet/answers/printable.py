"""Text from outside, made safe for a terminal."""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), which can move the cursor or change the terminal's title; line and paragraph
# separators; controls of the writing direction, which can make a text look like another; halves of surrogate pairs,
# which stand for bytes of a file name and cannot be encoded.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_IN_LINE = re.compile(f"[\t\n{_UNSAFE}]")


def printable(text: str) -> str:
    """Return a text for a terminal. Control characters become escapes, such as \\x1b, except newlines and tabs."""
    return _IN_TEXT.sub(_escape, text)


def printable_line(text: str) -> str:
    """Return a text for one line of a terminal, see `printable`. Newlines and tabs become escapes, too."""
    return _IN_LINE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
