"""The engine of a diffusion decoder: it batches the denoising steps of many jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import torch
from torch import Tensor

from motet.core.clock import now
from motet.core.errors import DeadlineError, FaultError
from motet.core.media import Media
from motet.core.telemetry.families import decoder_metrics
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage
from motet.core.workers import Progress
from motet.media import encode
from motet.models.diffusion.batch_span import BatchSpans
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.job import JobEvent, RunningJob
from motet.models.diffusion.model import Array, DenoisingState, DiffusionModel
from motet.models.diffusion.scheduling import StepScheduler
from motet.models.dtype import not_finite
from motet.models.engine_thread import EngineThread, engine_error
from motet.models.gpu.device_meter import device_meter
from motet.scheduling.moving_average import MovingAverage

_PREVIEW_INTERVALS = 4
"""Number of equal intervals that previews divide the steps of a job into."""
_FINISH_THREADS = 2
"""Number of threads that decode latents and encode media. One can use the network while the other one encodes."""
_SAFETY_FACTOR, _FIRST_SAFETY_FACTOR = 1.1, 1.5
"""Factors of predicted seconds when steps must fit into a deadline. The second one is for a single measured step."""


class DiffusionEngine:
    """Take denoising steps of many jobs on one thread until all jobs are finished.

    Jobs start and stop between steps. `StepScheduler` chooses the jobs of the next step, `CostCurve` the batch size.
    `curves` returns the cost curve of states with a given number of rows. Previews and media are encoded on other
    threads during the next steps. An error in one job stops that job alone.
    """

    def __init__(
        self,
        modality: str,
        model: DiffusionModel,
        to_media: Callable[[Array], Media],
        curves: Callable[[int], CostCurve],
    ) -> None:
        self._modality, self._name = modality, f"{modality} decoder"
        self._model, self._to_media = model, to_media
        self._curve_of, self._curves = curves, dict[int, CostCurve]()
        self._scheduler, self._finish_seconds = StepScheduler[RunningJob](), MovingAverage()
        self._jobs, self._batch_spans = list[RunningJob](), BatchSpans(modality)
        self._thread: EngineThread[RunningJob] = EngineThread(self._name, self._step, self._fail)
        self._finish_threads = ThreadPoolExecutor(_FINISH_THREADS, f"{modality}-decoder-finish")
        self.meter = device_meter(ServiceKind.DECODER, [modality], model.device)
        cuda = model.device.type == "cuda"
        self._stream = torch.cuda.Stream(model.device) if cuda else None  # type: ignore[no-untyped-call]

    def submit(self, job: RunningJob) -> None:
        """Include a job from the next step on, from any thread. Set `job.cancelled` to cancel it."""
        self._thread.submit(job)

    @property
    def idle(self) -> bool:
        """True if no job is left."""
        return self._thread.idle

    def close(self) -> None:
        """Stop all jobs with a `RetryableError`, and the threads. Wait for the step that is being computed."""
        self._thread.close()
        self._finish_threads.shutdown(wait=True, cancel_futures=True)

    def _step(self, arrived: list[RunningJob], closed: bool) -> bool:
        """Implement the `step` of `EngineThread`: check all jobs, then take one denoising step."""
        self._jobs += arrived
        for job in self._jobs:
            if closed and not job.finished:
                self._close(job, self._thread.closed_error())
            elif job.active:
                self._check_deadline(job)
        self._jobs = [job for job in self._jobs if job.active]
        self._batch_spans.keep(self._jobs)
        if self._jobs:
            self._denoise(self._jobs)
        else:
            self._report_jobs(0, 0)
        return bool(self._jobs)

    def _fail(self, error: BaseException) -> None:
        """Stop all jobs, because the engine itself failed."""
        fault = FaultError(f"the {self._name} failed")
        fault.__cause__ = error
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            self._close(job, fault)

    def _denoise(self, jobs: Sequence[RunningJob]) -> None:
        """Take one step of the jobs that the scheduler chooses."""
        step_seconds = self._curve(jobs[0].group).step_seconds(len(jobs)) or 0.0
        chosen = self._scheduler.next(jobs, lambda group, waiting: self._curve(group).size(waiting), step_seconds)
        started = now()
        for job in jobs:
            job.stages.enter(Stage.DENOISE if job in chosen else Stage.BATCH_WAIT, started)
        batch = [(job, state) for job in chosen if (state := self._prepare(job, len(jobs)))]
        self._report_jobs(len(batch), len(jobs) - len(batch))
        self._batch_spans.step([job for job, _ in batch])
        with self.meter.measure([job.share for job, _ in batch]):
            outputs = self._predict(chosen[0].group, [state for _, state in batch]) if batch else []
        for (job, state), output in zip(batch, outputs, strict=True):
            self._advance(job, state, output)
        seconds = now() - started
        self._scheduler.charge(chosen, seconds)
        if batch:
            labelled(decoder_metrics.DECODER_BATCH_SIZE, self._modality).observe(len(batch))
            labelled(decoder_metrics.DECODER_STEP_SECONDS, self._modality).observe(seconds)

    def _prepare(self, job: RunningJob, running: int) -> DenoisingState | None:
        """Return the job's state. Prepare it before the first step, and return None if that fails."""
        if job.state is None:
            try:
                with self.meter.measure([job.share]):
                    steps = self._affordable_steps(job, running)
                    job.state = self._model.prepare(job.conditioning, job.seed, steps, job.guidance, job.inputs)
            except Exception as error:
                self._close(job, error)
        return job.state

    def _affordable_steps(self, job: RunningJob, running: int) -> int:
        """Return the job's steps, or the number that its deadline allows if the job accepts fewer steps."""
        left = job.deadline.remaining()
        if job.min_steps is None or left is None or job.min_steps >= job.steps:
            return job.steps
        curve, factor = self._curve(job.group), _SAFETY_FACTOR
        if curve.step_seconds(running) is None:
            self._measure_step(job, curve)
            left, factor = job.deadline.remaining() or 0.0, _FIRST_SAFETY_FACTOR
        step_seconds = (curve.step_seconds(running) or 0.0) * factor
        finish_seconds = (self._finish_seconds.value or 0.0) * _SAFETY_FACTOR
        affordable = int((left - finish_seconds) / step_seconds) if step_seconds else job.steps
        return max(job.min_steps, min(affordable, job.steps))

    def _measure_step(self, job: RunningJob, curve: CostCurve) -> None:
        """Measure the seconds of a step on a state that is then dropped. The first of its two predictions is slower."""
        state = self._model.prepare(job.conditioning, job.seed, 1, job.guidance, job.inputs)
        for _ in range(2):
            _, seconds = self._timed_forward([state])
        curve.observe(1, seconds)

    def _predict(self, group: int, states: list[DenoisingState]) -> list[Tensor | Exception]:
        """Return the network's output for each state, or the error that prevented it."""
        curve = self._curve(group)
        if len(states) > 1 and curve.to_try(len(states)):
            return self._run_trial(curve, states)
        if not curve.allows(len(states)):
            # The preparation of a chosen job failed, which made the batch smaller.
            return self._predict_sequentially(states)
        try:
            outputs, seconds = self._timed_forward(states)
        except Exception as error:
            return [error] if len(states) == 1 else self._predict_sequentially(states)
        curve.observe(len(states), seconds)
        return [*outputs]

    def _run_trial(self, curve: CostCurve, states: list[DenoisingState]) -> list[Tensor | Exception]:
        """Return the outputs of one forward per state, and compare them with one batch for the curve."""
        started = now()
        outputs = self._predict_sequentially(states)
        sequential_seconds = now() - started
        valid = [output for output in outputs if isinstance(output, Tensor)]
        if len(valid) < len(states) or not all(torch.isfinite(output).all() for output in valid):
            return outputs
        try:
            batched, batched_seconds = self._timed_forward(states)
        except Exception:
            # The usual cause is a lack of memory for a batch of this size.
            curve.learn(len(states), float("inf"), sequential_seconds, float("inf"))
            return outputs
        difference = max(float((one - other).abs().max()) for one, other in zip(valid, batched, strict=True))
        curve.learn(len(states), batched_seconds, sequential_seconds, difference)
        curve.observe(1, sequential_seconds / len(states))
        return outputs

    def _predict_sequentially(self, states: list[DenoisingState]) -> list[Tensor | Exception]:
        outputs: list[Tensor | Exception] = []
        for state in states:
            try:
                outputs += self._timed_forward([state])[0]
            except Exception as error:
                outputs.append(error)
        return outputs

    def _timed_forward(self, states: list[DenoisingState]) -> tuple[list[Tensor], float]:
        """Return the outputs of one forward, and its seconds."""
        started = now()
        outputs = self._model.predict(states)
        if self._model.device.type == "cuda":
            # Without this wait, steps would queue on the device, where they cannot be cancelled.
            torch.cuda.current_stream(self._model.device).synchronize()
        return outputs, now() - started

    def _advance(self, job: RunningJob, state: DenoisingState, output: Tensor | Exception) -> None:
        """Take the job's step and send its events."""
        try:
            if isinstance(output, Exception):
                raise output
            self._model.advance(state, output)
        except Exception as error:
            self._close(job, error)
            return
        step, total, sample = state.step, state.total, state.pred_original_sample
        if job.previews and sample is not None and step < total and step % max(1, total // _PREVIEW_INTERVALS) == 0:
            _send(job, self._finish_threads.submit(self._preview, job, step, total, sample))
        else:
            _send(job, Progress(step, total))
        if step == total:
            job.stages.enter(Stage.QUEUE, attributes={"steps": total})
            _send(job, self._finish_threads.submit(self._finish, job, state))
            self._close(job)

    def _preview(self, job: RunningJob, step: int, total: int, sample: Tensor) -> Progress | Media:
        _check_cancelled(job)
        with self._finishing():
            with self.meter.measure([job.share]):
                picture = self._model.preview(sample)
            return Progress(step, total, None if picture is None else encode.encode_preview(picture))

    def _finish(self, job: RunningJob, state: DenoisingState) -> Progress | Media:
        _check_cancelled(job)
        job.deadline.check("the decoder was finishing")
        started = now()
        job.stages.enter(Stage.VAE, started)
        with self._finishing():
            with self.meter.measure([job.share]):
                array = self._model.finish(state)
            job.stages.enter(Stage.MEDIA_ENCODE)
            media = self._to_media(array)
        job.stages.end()
        self._finish_seconds.add(now() - started)
        return media

    @contextmanager
    def _finishing(self) -> Iterator[None]:
        """Compute on the side stream, and translate its errors. Raises `FaultError` if a result is not finite."""
        try:
            with self._side_stream():
                yield
        except FloatingPointError as error:
            raise not_finite(f"the {self._name}'s result", self._model.dtype, "try another seed") from error
        except torch.OutOfMemoryError as error:
            raise engine_error(error, self._name) from error

    def _side_stream(self) -> AbstractContextManager[object]:
        """Return a context that computes on a GPU at the same time as later steps, after all earlier steps."""
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.default_stream(self._model.device))
        return torch.cuda.stream(self._stream)

    def _curve(self, group: int) -> CostCurve:
        if group not in self._curves:
            self._curves[group] = self._curve_of(group)
        return self._curves[group]

    def _report_jobs(self, running: int, waiting: int) -> None:
        for status, count in (("running", running), ("waiting", waiting)):
            labelled(decoder_metrics.DECODER_JOBS, self._modality, status).set(count)
        moment = now()
        oldest = min((job.since for job in self._jobs if job.state is None), default=moment)
        labelled(decoder_metrics.DECODER_OLDEST_WAIT_SECONDS, self._modality).set(moment - oldest)

    def _check_deadline(self, job: RunningJob) -> None:
        try:
            job.deadline.check(job.phase)
        except DeadlineError as error:
            self._close(job, error)

    def _close(self, job: RunningJob, error: Exception | None = None) -> None:
        """Close the job's events, with the error that stopped the job if there is one."""
        job.finished = True
        with suppress(RuntimeError):  # The event loop of the reader is closed.
            job.events.close(None if error is None else engine_error(error, self._name))


def _check_cancelled(job: RunningJob) -> None:
    if job.cancelled:
        raise CancelledError


def _send(job: RunningJob, event: JobEvent) -> None:
    try:
        job.events.put(event)
    except RuntimeError:
        # The event loop of the reader is closed.
        job.cancelled = True
