"""Property tests of plans with edges, on a virtual clock: random plans, failures, cancellations and deadlines."""

from __future__ import annotations

import asyncio
import random
from hashlib import sha256

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import CancelledError, FaultError, RetryableError
from motet.core.events import PartDone, PlanGrown
from motet.core.media import Media
from motet.core.request import FailurePolicy, GenerationRequest
from motet.core.workers import Finished, Progress, Signal, SignalStarted, TextPiece, Workers
from motet.toys.workers import ToyEncoder, tensor_of
from orchestrator.artifact_store import ArtifactStore
from orchestrator.generation.admitted_request import AdmittedRequest, AdmittedTurn
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.events.event_log import EventLog
from orchestrator.generation.part_inputs import ConversationMedium
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation.task import GenerationTask
from orchestrator.quota.account import Account
from orchestrator.quota.limits import UNLIMITED
from orchestrator.settings import OrchestratorSettings
from tests.orchestrator.edges import EDGES, TAKES
from tests.orchestrator.event_grammar import check_events
from tests.waiting import in_virtual_time

SEEDS, CHUNKS = 10_000, 10
"""Number of random generations, and of the tests that share them."""

CONDITIONING = tensor_of(b"", (4,))
SETTINGS = OrchestratorSettings(media_job_timeout=4.0, max_refused_signals=3)
FAULTS = (FaultError("broken"), RetryableError("gone"), "hang")


class RandomRun:
    """One random generation. Its decoders record the media that they get, and the media that they make."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.decodes: list[tuple[str, tuple[Media, ...], int]] = []
        """The modality, the inputs and the number of events so far of each decode that started."""
        self.running = 0
        self.store = ArtifactStore(3600, 1 << 20).of("tenant")
        self.log = EventLog()
        self.writer = EventWriter("generations/random", self.log, fallback=self.random.random() < 0.2)
        attached = self.random.sample("abv", self.random.choice([0, 0, 1, 2]))
        self.attached = [
            ConversationMedium((name,), Media(f"x/{name}", f"attached {name}".encode())) for name in attached
        ]

    def maybe(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.random.random() < probability

    async def generate(self, prompt, deadline):
        """Implement `LanguageModel.generate` with random signals."""
        for _ in range(self.random.randint(1, 8)):
            if self.maybe(0.5):
                await asyncio.sleep(self.random.random())
            modality = self.random.choice("aabbccd")
            yield SignalStarted(modality)
            if self.maybe(0.05):
                yield TextPiece("broken")
                continue
            yield Signal(modality, CONDITIONING)
        if self.maybe(0.05):
            raise FaultError("the model broke")
        yield Finished("stop", 1, 1)

    async def decode(self, job, deadline):
        """Implement `Decoder.decode` with random times and failures."""
        self.decodes.append((job.modality, job.inputs, len(self.log)))
        fault = self.random.choice(FAULTS) if self.maybe(0.12) else None
        self.running += 1
        try:
            for step in range(self.random.randint(0, 2)):
                await asyncio.sleep(self.random.random())
                yield Progress(step + 1, 3)
            if fault == "hang":
                await asyncio.Event().wait()
            if fault is not None:
                raise fault
            yield Media(f"x/{job.modality}", sha256(repr((job.modality, job.seed, job.inputs)).encode()).digest())
        finally:
            self.running -= 1

    def request(self, deadline: Deadline) -> AdmittedRequest:
        """Return the admitted request, with random ceilings and a random policy."""
        ceilings = {name: self.random.choice([0, 1, 3, 8, 8, 8]) for name in TAKES}
        policies = [FailurePolicy.BEST_EFFORT] * 4 + [FailurePolicy.ALL_OR_NOTHING]
        turns = (AdmittedTurn("user", ("x",)),)
        policy = self.random.choice(policies)
        return AdmittedRequest(turns, ceilings, 7, deadline, 99, policy, takeable=tuple(self.attached))

    async def run(self) -> None:
        """Run the generation to its end, or until it is cancelled or late."""
        deadline = Deadline.after(self.random.choice([0.5, 2.0, 60.0, 60.0]))
        workers = Workers(ToyEncoder(), self, dict.fromkeys(TAKES, self))
        pipeline = Pipeline(
            self.request(deadline),
            self.writer,
            workers=workers,
            manifest=EDGES,
            digest="",
            artifacts=self.store,
            account=Account("default", UNLIMITED),
            settings=SETTINGS,
        )
        task = GenerationTask("tenant", GenerationRequest(()), 0, self.writer, self.log, pipeline, lambda *end: None)
        self.writer.accept(7, None)
        task.start(deadline)
        if self.maybe(0.2):
            asyncio.get_running_loop().call_later(3 * self.random.random(), task.stop, CancelledError("cancelled"))
        await task.wait_idle()

    async def check(self) -> None:
        """Check that every part ended once, and that no decode started before its inputs were complete."""
        events = [event async for event in self.log.follow()]
        check_events(events)
        assert self.running == 0
        complete = {
            event.payload.artifact.sha256: event.sequence
            for event in events
            if isinstance(event.payload, PartDone) and event.payload.artifact
        }
        attached = {medium.media.sha256: 0 for medium in self.attached}
        for modality, inputs, sequence in self.decodes:
            slots = [slot if isinstance(slot, list) else [slot] for slot in TAKES[modality]]
            for slot, media in zip(slots, inputs, strict=True):
                assert media.media_type[-1] in slot
                assert (attached | complete)[media.sha256] <= sequence, "a decode started before its input was complete"
        self._check_edges(events)

    def _check_edges(self, events) -> None:
        """Check that each complete part has the inputs that the plan names, in order."""
        plan = next(event.payload for event in reversed(events) if isinstance(event.payload, PlanGrown))
        done = {event.payload.part_id: event.payload for event in events if isinstance(event.payload, PartDone)}
        for node in plan.nodes:
            if node.part_id in done:
                digests = [
                    done[source.part_id].sha256 if source.part_id else self.store.find(source.artifact).artifact.sha256
                    for source in node.inputs
                ]
                assert done[node.part_id].provenance.get("inputs", "") == ",".join(map(bytes.hex, digests))
                assert len(digests) == len(TAKES[node.modality])


@pytest.mark.parametrize("chunk", range(CHUNKS))
@in_virtual_time
async def test_no_part_starts_before_its_inputs_and_each_part_ends_once(chunk):
    before = asyncio.all_tasks()
    for seed in range(chunk, SEEDS, CHUNKS):
        run = RandomRun(seed)
        try:
            await run.run()
            await run.check()
        except BaseException:
            print(f"seed {seed}")
            raise
    assert asyncio.all_tasks() == before
