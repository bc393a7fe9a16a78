"""The loop of a diffusion decoder: songs that come together are sung together, a step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from time import perf_counter

import torch
from torch import Tensor

from motet.core import metrics
from motet.core.errors import DeadlineError, FaultError
from motet.core.media import Media
from motet.core.workers import Progress
from motet.media import encode
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.job import JobEvent, RunningJob
from motet.models.diffusion.model import Array, DenoisingState, DiffusionModel
from motet.models.diffusion.scheduling import StepScheduler
from motet.models.engine_thread import EngineThread
from motet.scheduling.moving_average import MovingAverage

_PREVIEWS = 4
_FINISHING = 2
"""Threads that decode latents and encode media meanwhile: one may wait for the network while the other encodes."""
_CAUTION, _FIRST_CAUTION = 1.1, 1.5
"""Predicted seconds are taken so many times when steps must fit into a deadline; the latter after one rehearsal."""


class DiffusionEngine:
    """Take denoising steps of many jobs on one thread until all jobs are finished.

    Jobs join and leave between steps. `StepScheduler` chooses the job whose step is next, `CostCurve` the batch size.
    Previews and media are encoded on other threads during the next steps. An error in one job ends that job alone.
    """

    def __init__(
        self,
        modality: str,
        singer: DiffusionModel,
        to_media: Callable[[Array], Media],
        curves: Callable[[int], CostCurve],
    ) -> None:
        self._modality, self._singer, self._to_media = modality, singer, to_media
        self._curve_of, self._curves = curves, dict[int, CostCurve]()
        self._turns = StepScheduler[RunningJob]()
        self._finishing_seconds = MovingAverage()
        self._seats: list[RunningJob] = []
        self._thread: EngineThread[RunningJob] = EngineThread(f"{modality} decoder", self._step, self._fail)
        self._others = ThreadPoolExecutor(_FINISHING, f"{modality}-decoder-finish")
        cuda = singer.device.type == "cuda"
        self._stream = torch.cuda.Stream(singer.device) if cuda else None  # type: ignore[no-untyped-call]

    def join(self, seat: RunningJob) -> None:
        """Include a job from the next step on, from any thread. Set `seat.gone` to cancel it."""
        self._thread.submit(seat)

    @property
    def idle(self) -> bool:
        """Whether no job is left."""
        return self._thread.idle

    def close(self) -> None:
        """End all jobs with a `RetryableError`, and the threads. Wait for the step that is being computed."""
        self._thread.close()
        self._others.shutdown(wait=True, cancel_futures=True)

    def _step(self, arrived: list[RunningJob], closed: bool) -> bool:
        self._seats += arrived
        for seat in self._seats:
            if closed and not seat.over:
                _end(seat, self._thread.closed_error())
            elif not (seat.over or seat.gone):
                _check(seat)
        self._seats = [seat for seat in self._seats if not (seat.over or seat.gone)]
        if self._seats:
            self._turn(self._seats)
        else:
            self._count(0, 0)
        return bool(self._seats)

    def _fail(self, error: BaseException) -> None:
        """End all jobs, because the engine itself failed."""
        fault = FaultError(f"the {self._modality} decoder failed")
        fault.__cause__ = error
        jobs, self._seats = self._seats, []
        for seat in jobs:
            _end(seat, fault)

    def _turn(self, seats: Sequence[RunningJob]) -> None:
        """One step of those whose turn it is."""
        pace = self._curve(seats[0].group).pace(len(seats)) or 0.0
        chosen = self._turns.next(seats, lambda group, waiting: self._curve(group).size(waiting), pace)
        began = perf_counter()
        batch = [(seat, song) for seat in chosen if (song := self._song(seat, len(seats)))]
        self._count(len(batch), len(seats) - len(batch))
        predictions = self._predicted(chosen[0].group, [song for _, song in batch]) if batch else []
        for (seat, song), predicted in zip(batch, predictions, strict=True):
            self._advance(seat, song, predicted)
        seconds = perf_counter() - began
        self._turns.charge(chosen, seconds)
        if batch:
            metrics.DECODER_BATCH_SIZE.labels(self._modality).observe(len(batch))
            metrics.DECODER_STEP_SECONDS.labels(self._modality).observe(seconds)

    def _song(self, seat: RunningJob, present: int) -> DenoisingState | None:
        """The seat's song, prepared before its first step; None if that failed."""
        if seat.song is None:
            try:
                steps = self._affordable(seat, present)
                seat.song = self._singer.prepare(seat.conditioning, seat.seed, steps, seat.guidance)
            except Exception as error:
                _end(seat, error)
        return seat.song

    def _affordable(self, seat: RunningJob, present: int) -> int:
        """The steps that a job wants, or where it may take fewer, as many as its deadline allows."""
        left = seat.deadline.remaining()
        if seat.min_steps is None or left is None or seat.min_steps >= seat.steps:
            return seat.steps
        curve, caution = self._curve(seat.group), _CAUTION
        if curve.pace(present) is None:
            self._rehearse(seat, curve)
            left, caution = seat.deadline.remaining() or 0.0, _FIRST_CAUTION
        pace = (curve.pace(present) or 0.0) * caution
        fitting = int((left - (self._finishing_seconds.value or 0.0) * _CAUTION) / pace) if pace else seat.steps
        return max(seat.min_steps, min(fitting, seat.steps))

    def _rehearse(self, seat: RunningJob, curve: CostCurve) -> None:
        """Find out what a step takes where none was ever taken; the first prediction is slower than those after."""
        song = self._singer.prepare(seat.conditioning, seat.seed, 1, seat.guidance)
        for _ in range(2):
            _, seconds = self._timed([song])
        curve.observe(1, seconds)

    def _predicted(self, group: int, songs: list[DenoisingState]) -> list[Tensor | Exception]:
        """What the network says of each song, or why it cannot."""
        curve = self._curve(group)
        if len(songs) > 1 and curve.to_try(len(songs)):
            return self._tried(curve, songs)
        if not curve.allows(len(songs)):
            # One of those that were chosen could not be prepared.
            return self._apart(songs)
        try:
            predicted, seconds = self._timed(songs)
        except Exception as error:
            return [error] if len(songs) == 1 else self._apart(songs)
        curve.observe(len(songs), seconds)
        return [*predicted]

    def _tried(self, curve: CostCurve, songs: list[DenoisingState]) -> list[Tensor | Exception]:
        """What the network says of each song alone; and the curve learns what together would have been."""
        began = perf_counter()
        alone = self._apart(songs)
        apart = perf_counter() - began
        sound = [each for each in alone if isinstance(each, Tensor)]
        if len(sound) < len(songs) or not all(torch.isfinite(each).all() for each in sound):
            return alone
        try:
            together, seconds = self._timed(songs)
        except Exception:
            # As a rule because memory does not suffice: this many do not go together here.
            curve.learn(len(songs), float("inf"), apart, float("inf"))
            return alone
        influence = max(float((one - other).abs().max()) for one, other in zip(sound, together, strict=True))
        curve.learn(len(songs), seconds, apart, influence)
        curve.observe(1, apart / len(songs))
        return alone

    def _apart(self, songs: list[DenoisingState]) -> list[Tensor | Exception]:
        predicted: list[Tensor | Exception] = []
        for song in songs:
            try:
                predicted += self._timed([song])[0]
            except Exception as error:
                predicted.append(error)
        return predicted

    def _timed(self, songs: list[DenoisingState]) -> tuple[list[Tensor], float]:
        began = perf_counter()
        predicted = self._singer.predict(songs)
        if self._singer.device.type == "cuda":
            # Otherwise steps would pile up on the device, where nobody can cancel them.
            torch.cuda.current_stream(self._singer.device).synchronize()
        return predicted, perf_counter() - began

    def _advance(self, seat: RunningJob, song: DenoisingState, predicted: Tensor | Exception) -> None:
        """The song's step, and what its listener is told of it."""
        if isinstance(predicted, Exception):
            _end(seat, predicted)
            return
        try:
            self._singer.advance(song, predicted)
        except Exception as error:
            _end(seat, error)
            return
        step, total, guess = song.step, song.total, song.guess
        if seat.previews and guess is not None and step < total and step % max(1, total // _PREVIEWS) == 0:
            _tell(seat, self._others.submit(self._previewed, seat, step, total, guess))
        else:
            _tell(seat, Progress(step, total))
        if step == total:
            _tell(seat, self._others.submit(self._finished, seat, song))
            _end(seat)

    def _previewed(self, seat: RunningJob, step: int, total: int, guess: Tensor) -> Progress | Media:
        _still_wanted(seat)
        try:
            with self._aside():
                picture = self._singer.preview(guess)
        except FloatingPointError as error:
            raise self._not_finite() from error
        return Progress(step, total, None if picture is None else encode.encode_preview(picture))

    def _finished(self, seat: RunningJob, song: DenoisingState) -> Progress | Media:
        _still_wanted(seat)
        seat.deadline.check("the decoder was finishing")
        began = perf_counter()
        try:
            with self._aside():
                made = self._singer.finish(song)
            media = self._to_media(made)
        except FloatingPointError as error:
            raise self._not_finite() from error
        self._finishing_seconds.add(perf_counter() - began)
        return media

    def _aside(self) -> AbstractContextManager[object]:
        """On a GPU, what is computed here goes on beside the steps, after those that have been taken."""
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.default_stream(self._singer.device))
        return torch.cuda.stream(self._stream)

    def _not_finite(self) -> FaultError:
        return FaultError(f"the {self._modality} decoder's result is not finite; try another seed")

    def _curve(self, group: int) -> CostCurve:
        if group not in self._curves:
            self._curves[group] = self._curve_of(group)
        return self._curves[group]

    def _count(self, running: int, waiting: int) -> None:
        for state, count in (("running", running), ("waiting", waiting)):
            metrics.DECODER_JOBS.labels(self._modality, state).set(count)


def _check(seat: RunningJob) -> None:
    try:
        seat.deadline.check(seat.doing)
    except DeadlineError as error:
        _end(seat, error)


def _still_wanted(seat: RunningJob) -> None:
    if seat.gone:
        raise CancelledError


def _tell(seat: RunningJob, event: JobEvent) -> None:
    try:
        seat.events.put(event)
    except RuntimeError:
        # The event loop of the reader is closed.
        seat.gone = True


def _end(seat: RunningJob, error: Exception | None = None) -> None:
    seat.over = True
    with suppress(RuntimeError):  # The event loop of the reader is closed.
        seat.events.close(error)
