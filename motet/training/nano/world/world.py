"""The nano world: every picture, sound and clip that the nano bundle knows.

A *thing* is one combination of attributes, for example a penguin on blue. About one combination in eight is held out:
no part of the bundle is trained on it. `held_out` names these combinations, and the evaluation uses only them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

# The short name of each noun's picture in the emoji-datasource packages.
NOUNS = {
    "red apple": "apple",
    "banana": "banana",
    "orange": "tangerine",
    "strawberry": "strawberry",
    "pear": "pear",
    "pineapple": "pineapple",
    "pizza": "pizza",
    "hamburger": "hamburger",
    "penguin": "penguin",
    "dog": "dog",
    "cat": "cat",
    "fish": "tropical_fish",
    "octopus": "octopus",
    "butterfly": "butterfly",
    "bee": "bee",
    "turtle": "turtle",
    "whale": "whale",
    "snail": "snail",
    "tree": "evergreen_tree",
    "sunflower": "sunflower",
    "cactus": "cactus",
    "mushroom": "mushroom",
    "star": "star",
    "snowman": "snowman_without_snow",
    "car": "car",
    "rocket": "rocket",
    "bicycle": "bike",
    "airplane": "airplane",
    "sailboat": "sailboat",
    "house": "house",
    "balloon": "balloon",
    "heart": "heart",
    "key": "key",
    "guitar": "guitar",
    "trumpet": "trumpet",
    "violin": "violin",
    "football": "soccer",
    "crown": "crown",
    "gift": "gift",
    "pumpkin": "jack_o_lantern",
}

# The sRGB colour of each background.
BACKGROUNDS = {
    "red": (214, 48, 49),
    "orange": (245, 140, 40),
    "yellow": (250, 215, 70),
    "green": (60, 170, 90),
    "blue": (60, 120, 220),
    "purple": (140, 80, 190),
    "pink": (245, 165, 195),
    "white": (250, 250, 250),
}

# The General MIDI program of each instrument, counted from 0.
INSTRUMENTS = {
    "piano": 0,
    "music box": 10,
    "organ": 19,
    "accordion": 21,
    "guitar": 24,
    "violin": 40,
    "harp": 46,
    "trumpet": 56,
    "clarinet": 71,
    "flute": 73,
}

# The MIDI notes of each register. The gaps between registers are more than an octave wide.
REGISTERS = {
    "low": tuple(range(45, 50)),
    "middle": tuple(range(62, 67)),
    "high": tuple(range(79, 84)),
}

MIDDLE_C = 60

# The sixteen nouns and the six motions of clips. All clips have the plain background `CLIP_BACKGROUND`.
MOVERS = (
    "red apple",
    "banana",
    "strawberry",
    "penguin",
    "fish",
    "butterfly",
    "bee",
    "turtle",
    "whale",
    "car",
    "rocket",
    "airplane",
    "balloon",
    "heart",
    "football",
    "pumpkin",
)
MOTIONS = ("moving left", "moving right", "moving up", "moving down", "growing", "turning")
CLIP_BACKGROUND = "white"

# The value of an attribute that is not of interest.
ANY = "any"


@dataclass(frozen=True, slots=True)
class Thing:
    """One combination: a modality and the values of its two attributes.

    `image`: (noun, background); `audio`: (instrument, register); `video`: (noun, motion); `animation`: the motion of a
    picture of the noun; `film`: a clip with a sound, see `FILM`. The manner "" stands for every manner without a name:
    a noun on another background, an instrument between two registers. An attribute that is `ANY` is not of interest;
    the other one is.
    """

    modality: str
    subject: str
    manner: str

    @property
    def caption(self) -> str:
        """The name of the thing. Training captions and conditioning are made from it.

        The caption of an animation does not name the noun, because the picture shows it. So an animation needs no
        recognition of the picture, and pictures of unknown things can move.
        """
        if self.modality == "animation":
            return f"a thing {self.manner}"
        if self.manner in ("", ANY):
            return with_article(self.subject)
        if self.subject == ANY:
            return replace(self, subject="thing").caption
        match self.modality:
            case "image":
                return f"{with_article(self.subject)} on {with_article(self.manner)} background"
            case "audio":
                return f"a {self.manner} note on {with_article(self.subject)}"
            case _:
                return f"{with_article(self.subject)} {self.manner}"


def with_article(noun: str) -> str:
    """Return the noun with its indefinite article: "an octopus", "a red apple"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_ATTRIBUTES = {
    "image": (tuple(NOUNS), tuple(BACKGROUNDS)),
    "audio": (tuple(INSTRUMENTS), tuple(REGISTERS)),
    "video": (MOVERS, MOTIONS),
    "animation": (tuple(NOUNS), MOTIONS),
}
MODALITIES = ("image", "audio", "video")
FILM = Thing("film", "film with sound", "")
"""A clip or an animation, joined with a sound. It has no attributes of its own."""


def things(modality: str) -> list[Thing]:
    """Return every combination of a modality, held out or not, in a fixed order."""
    return [Thing(modality, subject, manner) for subject, manner in product(*_ATTRIBUTES[modality])]


def things_of_split(modality: str, test_split: bool) -> list[Thing]:
    """Return the held-out things of a modality (the test split), or all others (the training split)."""
    return [thing for thing in things(modality) if held_out(thing) == test_split]


@cache
def held_out_neighbours(thing: Thing) -> tuple[Thing, ...]:
    """Return the held-out things of the thing's modality that share an attribute with it, without the thing itself."""
    others = things_of_split(thing.modality, True) if thing.modality in _ATTRIBUTES else []
    near = (other for other in others if other.subject == thing.subject or other.manner == thing.manner)
    return tuple(other for other in near if other != thing)


def things_without_manner(modality: str) -> list[Thing]:
    """Return every subject of a modality with the manner "". They teach subjects independently of manners."""
    return [Thing(modality, subject, "") for subject in _ATTRIBUTES[modality][0]]


def unbiased_things(modality: str) -> list[Thing]:
    """Return things whose subjects have no held-out manner. They teach manners independently of subjects.

    A model that is trained on a subject in all manners but one learns that the subject excludes this manner. Sounds:
    the instruments with no held-out register. Clips: the nouns outside `MOVERS`. Every noun has a held-out background,
    so for pictures the function returns the whole training split.
    """
    subjects, manners = _ATTRIBUTES[modality]
    other_nouns = tuple(noun for noun in NOUNS if noun not in MOVERS) if modality == "video" else ()
    candidates = [Thing(modality, subject, manner) for subject, manner in product(other_nouns or subjects, manners)]
    biased = {thing.subject for thing in candidates if held_out(thing)}
    return [thing for thing in candidates if thing.subject not in biased] or things_of_split(modality, False)


def held_out(thing: Thing) -> bool:
    """Return True if no part of the bundle is trained on this combination.

    Each subject has at most one or two held-out manners. The training split contains every subject and every manner.
    An animation is held out if the clip of its noun in this motion is, so the denoiser of both trains on neither.
    """
    subjects, manners = _ATTRIBUTES.get("video" if thing.modality == "animation" else thing.modality, ((), ()))
    if thing.subject not in subjects or thing.manner not in manners:
        return False
    row, column = subjects.index(thing.subject), manners.index(thing.manner)
    # The factor 3 reaches every column of the eight backgrounds or six motions. Audio has only three registers.
    if thing.modality == "audio":
        return row % 2 == 0 and column == (row // 2) % len(manners)
    return column == (3 * row + row // len(manners)) % len(manners)
