"""Traces of clients."""

from __future__ import annotations

from services.benchmarks.load.client_trace import ClientTrace, PartTrace


def test_the_first_media_is_the_first_complete_media_part() -> None:
    parts = {
        "0": PartTrace("text", 0, 0.5),
        "1": PartTrace("a", 1, 4),
        "2": PartTrace("b", 2, 3),
        "3": PartTrace("c", 2),
    }

    assert ClientTrace(0, parts=parts).first_media == 3
    assert ClientTrace(0).first_media is None
