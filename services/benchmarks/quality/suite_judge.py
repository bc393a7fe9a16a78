"""The judge of the suites: it compares the last answer of a conversation with the expected one."""

from __future__ import annotations

import io
from dataclasses import dataclass

import av

from motet.core.events import PlanNode
from motet.core.media import Media
from motet.media.decode import decode_clip
from motet.training.nano.world.world import FILM, Thing
from services.benchmarks.quality import oracles
from services.benchmarks.quality.judge import JudgementCounts
from services.benchmarks.quality.suite import SuiteCase, promises

# Largest difference between the durations of a film's two streams, in seconds. Sound is coded in blocks.
_MAX_DIFFERENCE = 0.15
# The final area of an animated noun that grows, as a share of the first. The frame crops the noun.
_ANIMATED_GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class ConversationAnswer:
    """An answer: its text, its planned media parts, and its complete media in order, with their modalities."""

    text: str
    plan: tuple[PlanNode, ...] = ()
    media: tuple[tuple[str, Media], ...] = ()

    @property
    def edges(self) -> tuple[tuple[int, ...], ...]:
        """The positions in the plan of the parts that each part takes."""
        places = {node.part_id: place for place, node in enumerate(self.plan)}
        return tuple(tuple(places[part] for part in node.depends_on) for node in self.plan)


class SuiteJudge:
    """A judge of the last answers of conversations."""

    def __init__(self, classifiers: oracles.Oracles, counts: JudgementCounts) -> None:
        self._classifiers, self._counts = classifiers, counts

    async def judge(self, case: SuiteCase, answer: ConversationAnswer) -> None:
        """Add the judgements about an answer. Missing media are incorrect in each of their figures."""
        made = [modality for modality, _ in answer.media]
        note = f"{[part for turn in case.turns for part in turn if isinstance(part, str)]} -> {answer.text!r} {made}"
        self._counts.add(case.figure, self._is_right(case, answer), note)
        self.judge_promises(answer.text, len(made))
        for thing in case.expected:
            match = next((media for modality, media in answer.media if modality == thing.modality), None)
            if thing.modality == "animation":
                assert case.picture
                await self._judge_animation(case.picture, thing, match, note)
            elif thing == FILM:
                self._counts.add("film streams", match is not None and has_both_streams(match), note)

    def judge_promises(self, text: str, made: int) -> None:
        """Add the judgement whether an answer announces only media that it has."""
        self._counts.add("only made media promised", promises(text) <= made, f"{text!r} with {made} media")

    def _is_right(self, case: SuiteCase, answer: ConversationAnswer) -> bool:
        plan = [node.modality for node in answer.plan]
        right_plan = plan == [thing.modality for thing in case.expected]
        right_edges = not case.edges or answer.edges == case.edges
        text = answer.text
        right_words = all(word in text for word in case.words) and not any(word in text for word in case.other_words)
        return bool(text) and right_plan and right_edges and right_words

    async def _judge_animation(self, picture: Thing, thing: Thing, media: Media | None, note: str) -> None:
        noun = background = motion = "nothing"
        if media is not None:
            frames, _ = await decode_clip(media)
            # The classifier knows upright nouns, and a half turn ends upside down.
            shown = frames[-1][::-1, ::-1] if thing.manner == "turning" else frames[len(frames) // 2]
            noun, background = self._classifiers.noun(shown), oracles.corner_background(frames)
            motion = oracles.motion(frames, growth=_ANIMATED_GROWTH)
        self._counts.add("animation noun", noun == picture.subject, f"{noun}: {note}")
        self._counts.add("animation motion", motion == thing.manner, f"{motion}: {note}")
        self._counts.add("animation background", background == picture.manner, f"{background}: {note}")


def has_both_streams(media: Media) -> bool:
    """Return True if a film has frames and a sound of the same duration."""
    try:
        with av.open(io.BytesIO(media.data)) as container:
            video, audio = container.streams.video, container.streams.audio
            streams = [*video, *audio] if len(video) == len(audio) == 1 else []
            seconds = [float(s.duration * s.time_base) for s in streams if s.duration and s.time_base]
    except av.FFmpegError:
        return False
    if len(seconds) != 2:
        return False
    return min(seconds) > 0 and abs(seconds[0] - seconds[1]) <= _MAX_DIFFERENCE
