"""Workers that are loaded when first needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError
from motet.core.media import Media
from motet.core.workers import DecodeJob
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel, grammar_of, tensor_of
from services.lazy import LazyDecoder, LazyEncoder, LazyWorker, loading
from tests.services.command import CLEAN, eventually

LANGUAGE_MODEL = LazyWorker(lambda: ToyLanguageModel(grammar_of("image")), "language model")


async def test_a_worker_is_loaded_when_first_needed_and_only_once() -> None:
    loads: list[str] = []
    encoder = LazyEncoder(LazyWorker(lambda: loads.append("encoder") or ToyEncoder(), "encoder"), LANGUAGE_MODEL)  # type: ignore[func-returns-value]
    assert loads == []

    first, second = await asyncio.gather(*(encoder.encode([Media("", b"x")], Deadline.after(5)) for _ in range(2)))

    assert first == second
    assert loads == ["encoder"]


async def test_a_lazy_decoder_yields_the_events_of_its_decoder() -> None:
    job = DecodeJob("image", tensor_of(b"job", (4,)), seed=1)
    decoder = LazyDecoder(LazyWorker(lambda: ToyDecoder("image"), "decoder"))

    events = [event async for event in decoder.decode(job, Deadline.after(5))]

    assert events == [event async for event in ToyDecoder("image").decode(job, Deadline.after(5))]


async def test_a_reservation_starts_to_load_the_decoder() -> None:
    loaded = threading.Event()
    decoder = LazyDecoder(LazyWorker(lambda: loaded.set() or ToyDecoder("image"), "decoder"))  # type: ignore[func-returns-value]

    reservation = decoder.reserve(steps=None, tenant="", priority=0)
    assert await asyncio.to_thread(loaded.wait, 5)
    reservation.release()

    events = [
        event async for event in reservation.decode(DecodeJob("image", tensor_of(b"", (4,)), 1), Deadline.after(5))
    ]
    assert isinstance(events[-1], Media)


async def test_an_error_of_loading_reaches_every_caller() -> None:
    def load() -> ToyEncoder:
        raise BundleError("model.safetensors was altered")

    encoder = LazyEncoder(LazyWorker(load, "encoder"), LANGUAGE_MODEL)

    for _ in range(2):
        with pytest.raises(BundleError, match="altered"):
            await encoder.encode([], Deadline.after(5))


async def test_a_deadline_ends_the_wait_but_not_the_loading() -> None:
    release = threading.Event()
    worker = LazyWorker(lambda: release.wait(5) and ToyEncoder(), "encoder")
    encoder = LazyEncoder(worker, LANGUAGE_MODEL)  # type: ignore[arg-type]

    with pytest.raises(DeadlineError, match="while loading the encoder"):
        await encoder.encode([], Deadline.after(0.01))
    release.set()

    assert await encoder.encode([], Deadline.after(5)) == []


async def test_the_encoder_starts_to_load_the_language_model() -> None:
    loaded = threading.Event()
    language_model = LazyWorker(lambda: loaded.set() or ToyLanguageModel(grammar_of("image")), "language model")  # type: ignore[func-returns-value]
    encoder = LazyEncoder(LazyWorker(ToyEncoder, "encoder"), language_model)  # type: ignore[arg-type]

    await encoder.encode([Media("", b"x")], Deadline.after(5))

    assert await asyncio.to_thread(loaded.wait, 5)


async def test_the_names_of_loading_workers_are_known() -> None:
    release = threading.Event()
    worker = LazyWorker(lambda: release.wait(5), "encoder")
    assert loading() == []

    worker.start()
    assert loading() == ["encoder"]

    release.set()
    assert await worker.ready(Deadline.after(5))
    assert await asyncio.to_thread(eventually, lambda: not loading())


def test_a_command_that_ends_during_loading_keeps_its_exit_code() -> None:
    # The interpreter's shutdown kills a thread inside the import of torch, which aborts the process.
    program = (
        "import sys, time; from services.cli.exit import exit_after; from services.exit_codes import Exit\n"
        "from services.lazy import LazyWorker\n"
        "def late(): LazyWorker(lambda: __import__('torch'), 'model').start(); time.sleep(0.2); return Exit.LATE\n"
        "print('output'); sys.exit(exit_after(late).exit_code)"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=CLEAN)

    assert (result.returncode, result.stdout, result.stderr) == (5, "output\n", "")
