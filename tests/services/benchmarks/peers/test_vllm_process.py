"""The process that generates with vLLM. A module with vLLM's interface takes its place, which has three gigabytes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from services.benchmarks.peers.vllm_process import VllmProcess, vllm_python

_MODULE = """
import os
from types import SimpleNamespace

class SamplingParams:
    def __init__(self, **fields):
        self.fields = fields

class LLM:
    def __init__(self, **fields):
        print("a line of a library", os.environ["VLLM_CPU_OMP_THREADS_BIND"])
        if fields["model"] == "broken":
            raise ValueError("no such model")
        assert fields["dtype"] == "float32"
        assert fields["max_model_len"] == 9
        self.short = fields["model"] == "short"

    def generate(self, prompts, sampling, use_tqdm):
        assert [each["prompt_token_ids"] for each in prompts] == [[1, 2], [3]]
        lengths = [each.fields["max_tokens"] - self.short for each in sampling]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[0] * length)]) for length in lengths]
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "vllm.py").write_text(_MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return vllm_python(None)


def process(python: str, model: str) -> VllmProcess:
    return VllmProcess(python, Path(model), [([1, 2], 5), ([3], 7)], at_once=2, threads=1)


def test_each_round_generates_all_responses(python: str) -> None:
    with process(python, "whole") as vllm:
        assert [vllm.generate(), vllm.generate()] == [12, 12]


def test_a_response_of_another_length_is_an_error(python: str) -> None:
    with process(python, "short") as vllm, pytest.raises(RuntimeError, match="10 tokens, not 12"):
        vllm.generate()


def test_the_error_of_a_process_that_ends_has_its_last_line(python: str) -> None:
    with pytest.raises(RuntimeError, match="exit code 1: ValueError: no such model"):
        process(python, "broken").__enter__()


@pytest.mark.parametrize(("path", "reason"), [(None, "has no vLLM"), (Path("/dev/null"), "cannot be run")])
def test_an_environment_without_vllm_says_what_to_install(path: Path | None, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"{path or sys.executable} {reason}.*--peer-python"):
        vllm_python(path)
