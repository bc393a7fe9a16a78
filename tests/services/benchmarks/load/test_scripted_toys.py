"""Prompts that script toy workers."""

from __future__ import annotations

from services.benchmarks.load.scripted_toys import parse_script, scripted_prompt


def test_a_scripted_prompt_is_parsed_into_its_script() -> None:
    assert scripted_prompt(["a", "b"], 3, 2, 1) == "3 a 2 b 1"
    assert parse_script("please 3 a 2 c", ["a", "b"]) == [3, "a", 2]
