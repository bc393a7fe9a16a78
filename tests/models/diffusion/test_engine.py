"""Songs that share steps: exactness, isolation, order, and leaving between steps. On tiny random models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motet.core.bundle import Bundle, bundle_folder
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, FaultError, RetryableError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Progress
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.decoder import DiffusionDecoder, load_decoder
from motet.models.diffusion.model import DenoisingState, DiffusionModel
from tests.models.diffusion import tiny_decoders as tiny

torch.set_num_threads(1)


class Watched:
    """Stands around a singer: remembers who shared each step, and holds the steps up while `open` is not set."""

    def __init__(self, singer: DiffusionModel) -> None:
        self.singer = singer
        self.steps: list[list[DenoisingState]] = []
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.singer, name)

    def predict(self, songs: Sequence[DenoisingState]) -> list[torch.Tensor]:
        self.steps.append(list(songs))
        self.begun.release()
        assert self.open.wait(30)
        return self.singer.predict(songs)

    @property
    def shared(self) -> list[int]:
        """How many songs there were in each step."""
        return [len(songs) for songs in self.steps]


def taught(most: int, gain: float = 1.0) -> CostCurve:
    """A curve by which up to `most` songs go together, and the more the better."""
    curve = CostCurve()
    for size in range(2, most + 3):
        while curve.to_try(size):
            curve.learn(size, 1.0, (1.0 + gain * size) if size <= most else 0.5, 0.0)
    return curve


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    tiny.write(place)
    return place


Made = Callable[..., tuple[DiffusionDecoder, Watched]]


@pytest.fixture
def made(folder: Path) -> Iterator[Made]:
    """Makes a decoder that shares by a given curve, and its watched singer."""
    decoders: list[DiffusionDecoder] = []

    def make(curve: CostCurve, modality: str = "image") -> tuple[DiffusionDecoder, Watched]:
        decoder = load_decoder(tiny.bundle(folder), modality)
        decoders.append(decoder)
        singer = Watched(decoder._choir._singer)
        decoder._choir._singer, decoder._choir._curve_of = singer, lambda rows: curve
        return decoder, singer

    yield make
    for decoder in decoders:
        decoder.close()


def job(modality: str = "image", seed: int = 1, **changes: Any) -> DecodeJob:
    shape = tuple(tiny.CONDITIONING[modality])
    numbers = np.random.default_rng(seed).standard_normal(shape).astype("<f4")
    return replace(DecodeJob(modality, Tensor("float32", shape, numbers.tobytes()), seed, steps=4), **changes)


async def events(decoder: DiffusionDecoder, wanted: DecodeJob, deadline: Deadline | None = None) -> list[Any]:
    return [event async for event in decoder.decode(wanted, deadline or Deadline.never())]


async def media(decoder: DiffusionDecoder, wanted: DecodeJob) -> Media:
    made: Media = (await events(decoder, wanted))[-1]
    return made


async def begun(singer: Watched) -> None:
    """Waits for the next step to begin."""
    await asyncio.to_thread(singer.begun.acquire)


async def held(decoder: DiffusionDecoder, singer: Watched) -> tuple[asyncio.Task[Any], AsyncIterator[Any]]:
    """Keeps the decoder at the first step of a job that leaves then: what joins now, joins at the same boundary."""
    singer.open.clear()
    stream = decoder.decode(job(seed=99, steps=1), Deadline.never())
    task = asyncio.ensure_future(anext(stream))
    await begun(singer)
    return task, stream


def let_go(singer: Watched) -> None:
    singer.steps.clear()
    singer.open.set()


async def test_a_job_joins_and_leaves_at_any_step(made: Made) -> None:
    decoder, singer = made(taught(4))
    singer.open.clear()
    first = asyncio.create_task(media(decoder, job(seed=1, steps=5)))
    await begun(singer)
    second = asyncio.create_task(media(decoder, job(seed=2, steps=2)))
    await asyncio.sleep(0)
    singer.open.set()
    await asyncio.gather(first, second)
    assert singer.shared == [1, 2, 2, 1, 1]


async def test_without_guidance_is_a_group_of_its_own(made: Made) -> None:
    decoder, singer = made(taught(4))
    await held(decoder, singer)
    tasks = [asyncio.create_task(media(decoder, job(seed=n, guidance=1.0 if n > 1 else 3.0))) for n in range(4)]
    await asyncio.sleep(0)
    let_go(singer)
    await asyncio.gather(*tasks)
    assert all(len({song.rows for song in songs}) == 1 for songs in singer.steps)
    assert set(singer.shared) == {2}


async def test_no_more_share_a_step_than_pays_and_the_others_wait(made: Made) -> None:
    decoder, singer = made(taught(2))
    await held(decoder, singer)
    tasks = [asyncio.create_task(media(decoder, job(seed=seed))) for seed in range(5)]
    await asyncio.sleep(0)
    let_go(singer)
    await asyncio.gather(*tasks)
    assert singer.shared == [2] * 8 + [1] * 4


async def test_a_higher_priority_takes_over_between_two_steps(made: Made) -> None:
    decoder, singer = made(taught(1))
    ends: list[int] = []

    async def ended(priority: int, steps: int) -> None:
        await media(decoder, job(seed=priority, steps=steps, priority=priority))
        ends.append(priority)

    singer.open.clear()
    low = asyncio.create_task(ended(0, 8))
    await begun(singer)
    high = asyncio.create_task(ended(1, 10))
    await asyncio.sleep(0)
    singer.open.set()
    await asyncio.gather(low, high)
    assert ends == [1, 0]


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
async def test_songs_come_out_as_each_does_alone_to_the_last_bit_and_the_curve_is_learnt_meanwhile(
    made: Made, modality: str
) -> None:
    curve = CostCurve()
    sociable, singer = made(curve, modality)
    lonely, _ = made(taught(1), modality)
    wanted = [
        job(modality, 1, steps=12),
        job(modality, 2, steps=20),
        job(modality, 3, steps=16, guidance=5.0),
        job(modality, 4, steps=12, previews=True),
    ]
    alone = [await media(lonely, each) for each in wanted]
    assert await asyncio.gather(*(media(sociable, each) for each in wanted)) == alone
    assert 2 in curve.costs
    assert 2 in singer.shared


async def test_pictures_of_the_shipped_bundle_are_the_same_to_the_last_bit_in_company() -> None:
    bundle = Bundle.load(bundle_folder("nano"), ("decoders/image", "decoders/autoencoder"))
    decoder = load_decoder(bundle, "image")
    numbers = [np.random.default_rng(seed).standard_normal((8, 128), "f4").tobytes() for seed in range(3)]
    told = [Tensor("float32", (8, 128), each) for each in numbers]
    wanted = [DecodeJob("image", told[n], n, 10 + n, guidance) for n in range(3) for guidance in (None, 1.0)]
    alone = [await media(decoder, each) for each in wanted]
    assert await asyncio.gather(*(media(decoder, each) for each in wanted)) == alone
    assert {rows: curve.allows(2) for rows, curve in decoder._choir._curves.items()} == {1: True, 2: True}
    decoder.close()


async def test_nothing_is_measured_for_a_job_that_is_alone(made: Made) -> None:
    curve = CostCurve()
    decoder, singer = made(curve)
    await media(decoder, job(steps=6))
    assert singer.shared == [1] * 6
    assert not curve.costs


async def test_a_size_that_would_change_a_result_is_found_out_and_not_used(made: Made) -> None:
    curve = CostCurve()
    decoder, singer = made(curve)
    lonely, _ = made(taught(1))

    class Blurred(Watched):
        def predict(self, songs: Sequence[DenoisingState]) -> list[torch.Tensor]:
            return [each + 1e-7 * len(songs) * (len(songs) > 1) for each in super().predict(songs)]

    decoder._choir._singer = blurred = Blurred(singer.singer)
    wanted = [job(seed=seed, steps=8) for seed in range(2)]
    together = await asyncio.gather(*(media(decoder, each) for each in wanted))
    assert curve.costs[2].influence > 0
    assert blurred.shared.count(2) == 1
    assert together == [await media(lonely, each) for each in wanted]


async def test_a_song_that_cannot_be_finished_spoils_no_other(made: Made) -> None:
    decoder, _ = made(taught(4))
    lonely, _ = made(taught(1))
    mad, sane = job(seed=1, guidance=3e38), job(seed=2)
    broken, whole = await asyncio.gather(media(decoder, mad), media(decoder, sane), return_exceptions=True)
    assert isinstance(broken, FaultError)
    assert "not finite" in broken.message
    assert whole == await media(lonely, sane)


async def test_an_error_in_one_song_s_scheduler_spoils_no_other(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, singer = made(taught(4))
    lonely, _ = made(taught(1))
    advance = singer.singer.advance

    def breaks(song: DenoisingState, predicted: torch.Tensor) -> None:
        if song.total == 5 and song.step == 2:
            raise ArithmeticError("a scheduler broke")
        advance(song, predicted)

    monkeypatch.setattr(singer.singer, "advance", breaks)
    wanted = [job(seed=1, steps=5), job(seed=2)]
    broken, whole = await asyncio.gather(*(media(decoder, each) for each in wanted), return_exceptions=True)
    assert isinstance(broken, ArithmeticError)
    assert whole == await media(lonely, wanted[1])


async def test_where_a_batch_cannot_be_computed_each_song_is_computed_alone(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, singer = made(taught(4))
    predict = singer.singer.predict

    def too_large(songs: Sequence[DenoisingState]) -> list[torch.Tensor]:
        if len(songs) > 1 or songs[0].total == 5:
            raise torch.OutOfMemoryError("no memory for that")
        return predict(songs)

    lonely, _ = made(taught(1))
    alone = await media(lonely, job(seed=2))
    monkeypatch.setattr(singer.singer, "predict", too_large)
    wanted = [job(seed=1, steps=5), job(seed=2)]
    broken, whole = await asyncio.gather(*(media(decoder, each) for each in wanted), return_exceptions=True)
    assert isinstance(broken, torch.OutOfMemoryError)
    assert whole == alone


async def test_a_job_that_leaves_is_in_no_further_step(made: Made) -> None:
    decoder, singer = made(taught(4))
    stays = asyncio.create_task(media(decoder, job(seed=1, steps=30)))
    await begun(singer)
    singer.open.clear()
    leaves = asyncio.create_task(media(decoder, job(seed=2, steps=500)))
    await asyncio.sleep(0)
    singer.open.set()
    while 2 not in singer.shared:
        await begun(singer)
    leaves.cancel()
    shared_then = singer.shared.count(2)
    await stays
    # Steps go on until the loop has told of the cancellation; the one that has begun is the last.
    assert singer.shared.count(2) <= shared_then + 3
    assert singer.shared[-1] == 1


async def test_a_deadline_ends_one_job_and_no_other(made: Made) -> None:
    decoder, singer = made(taught(1))
    singer.open.clear()
    first = asyncio.create_task(media(decoder, job(seed=1, priority=1)))
    await begun(singer)
    late = asyncio.create_task(events(decoder, job(seed=2), Deadline.after(0.01)))
    await asyncio.sleep(0.02)
    singer.open.set()
    with pytest.raises(DeadlineError, match="waited for the decoder"):
        await late
    assert isinstance(await first, Media)
    assert len(singer.steps) == 4


def known(seconds: float) -> CostCurve:
    """A curve by which a song alone takes so long for a step."""
    curve = taught(1)
    curve.observe(1, seconds)
    return curve


@pytest.mark.parametrize(
    ("seconds", "least", "taken"),
    [(10.0, 5, 9), (10.0, 12, 12), (10.0, None, 20), (30.0, 5, 20), (None, 5, 20), (10.0, 30, 20)],
)
async def test_fewer_steps_are_taken_where_allowed_and_never_fewer_than_that(
    made: Made, seconds: float | None, least: int | None, taken: int
) -> None:
    decoder, _ = made(known(1.0))
    deadline = Deadline.never() if seconds is None else Deadline.after(seconds)
    heard = await events(decoder, job(steps=20, min_steps=least), deadline)
    assert heard[:-1] == [Progress(step, taken) for step in range(1, taken + 1)]


async def test_fewer_steps_are_taken_where_nothing_is_known_yet(made: Made) -> None:
    decoder, _ = made(CostCurve())
    heard = await events(decoder, job(steps=1000, min_steps=2), Deadline.after(0.5))
    assert 2 < len(heard) - 1 < 1000


async def test_media_are_finished_while_others_take_their_steps(made: Made) -> None:
    decoder, _ = made(taught(4))
    finishing, free = threading.Event(), threading.Event()
    to_media = decoder._choir._to_media

    def held_up(array: Any) -> Media:
        finishing.set()
        assert free.wait(30)
        return to_media(array)

    decoder._choir._to_media = held_up
    first = asyncio.create_task(media(decoder, job(seed=1, steps=1)))
    await asyncio.to_thread(finishing.wait, 30)
    stream = decoder.decode(job(seed=2), Deadline.never())
    assert [await anext(stream) for _ in range(4)] == [Progress(step, 4) for step in range(1, 5)]
    assert not first.done()
    free.set()
    await first
    assert isinstance(await anext(stream), Media)


async def test_who_does_not_listen_any_more_gets_nothing_finished(made: Made) -> None:
    decoder, _ = made(taught(1))
    finished: list[Any] = []
    decoder._choir._to_media = finished.append  # type: ignore[assignment]
    gate = threading.Event()
    for _ in range(2):
        decoder._choir._others.submit(gate.wait, 30)
    stream = decoder.decode(job(steps=1), Deadline.never())
    assert await anext(stream) == Progress(1, 1)
    await stream.aclose()  # type: ignore[attr-defined]
    gate.set()
    decoder.close()
    assert not finished


async def test_closing_tells_jobs_under_way_and_refuses_new_ones(made: Made) -> None:
    decoder, singer = made(taught(1))
    task = asyncio.create_task(media(decoder, job(steps=500)))
    await begun(singer)
    await asyncio.to_thread(decoder.close)
    with pytest.raises(RetryableError, match="closing"):
        await task
    with pytest.raises(RetryableError, match="closing"):
        await media(decoder, job())


def test_a_listener_whose_loop_is_closed_holds_nobody_up(made: Made) -> None:
    decoder, singer = made(taught(4))
    singer.open.clear()

    async def begins() -> AsyncIterator[Any]:
        stream = decoder.decode(job(seed=1, steps=500), Deadline.never())
        task = asyncio.ensure_future(anext(stream))
        await begun(singer)
        task.cancel()
        return stream

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begins())
    loop.close()
    singer.open.set()
    assert isinstance(asyncio.run(media(decoder, job(seed=2))), Media)
