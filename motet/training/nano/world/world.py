"""The nano world: everything the nano bundle can see, hear, say and make.

A *thing* is one combination of attributes, such as a penguin on blue. About one combination in eight is
never trained on, by any part of the bundle; `held_out` says which, so evaluation can ask for exactly those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

# Noun -> the short name of its picture in the emoji-datasource packages.
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

# Background -> its colour, sRGB.
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

# Instrument -> its General MIDI program, counted from 0.
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

# Register -> the MIDI notes it holds; the gaps between registers are over an octave wide.
REGISTERS = {
    "low": tuple(range(45, 50)),
    "middle": tuple(range(62, 67)),
    "high": tuple(range(79, 84)),
}

MIDDLE_C = 60

# The sixteen nouns that move, and how. Clips have one plain background, `CLIP_BACKGROUND`.
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


ANY = "any"


@dataclass(frozen=True, slots=True)
class Thing:
    """One combination: a modality and the values of its two attributes.

    `image`: (noun, background); `audio`: (instrument, register); `video`: (noun, motion). A manner of "" is none that
    has a name: a noun on some other ground, an instrument between two registers. Where an attribute is `ANY`, only the
    other one is of interest.
    """

    modality: str
    subject: str
    manner: str

    @property
    def caption(self) -> str:
        """What the thing is called; the training captions, and the conditioning, are made of this."""
        if self.manner in ("", ANY):
            return article(self.subject)
        if self.subject == ANY:
            return replace(self, subject="thing").caption
        match self.modality:
            case "image":
                return f"{article(self.subject)} on {article(self.manner)} background"
            case "audio":
                return f"a {self.manner} note on {article(self.subject)}"
            case _:
                return f"{article(self.subject)} {self.manner}"


def article(noun: str) -> str:
    """The noun with its indefinite article: "an octopus", "a red apple"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def nameless(modality: str) -> list[Thing]:
    """Every subject of a modality in a manner of no name: what parts subjects from manners in training."""
    return [Thing(modality, subject, "") for subject in _SPACES[modality][0]]


def impartial(modality: str) -> list[Thing]:
    """Things to learn manners from, of subjects that lack none of them: so no subject comes to mean "never so".

    The sounds of instruments of which no sound is held out; clips of the nouns that no clip of the world is made of.
    There are no such pictures: all that are not held out stand for them.
    """
    subjects, manners = _SPACES[modality]
    strangers = tuple(noun for noun in NOUNS if noun not in MOVERS) if modality == "video" else ()
    every = [Thing(modality, subject, manner) for subject, manner in product(strangers or subjects, manners)]
    lacking = {thing.subject for thing in every if held_out(thing)}
    return [thing for thing in every if thing.subject not in lacking] or chosen(modality, False)


_SPACES = {
    "image": (tuple(NOUNS), tuple(BACKGROUNDS)),
    "audio": (tuple(INSTRUMENTS), tuple(REGISTERS)),
    "video": (MOVERS, MOTIONS),
}
MODALITIES = tuple(_SPACES)


def things(modality: str) -> list[Thing]:
    """Every combination of a modality, trained on or not, in a fixed order."""
    return [Thing(modality, subject, manner) for subject, manner in product(*_SPACES[modality])]


def chosen(modality: str, apart: bool) -> list[Thing]:
    """The things of a modality that are held out, or those that are not."""
    return [thing for thing in things(modality) if held_out(thing) == apart]


def held_out(thing: Thing) -> bool:
    """Whether nothing in the bundle was trained on this combination.

    Each subject lacks at most one or two manners, and each manner some subjects: both were seen, never together.
    """
    subjects, manners = _SPACES[thing.modality]
    if thing.subject not in subjects or thing.manner not in manners:
        return False
    row, column = subjects.index(thing.subject), manners.index(thing.manner)
    # 3 and the eight backgrounds or six motions walk through every column; audio has only three registers.
    if thing.modality == "audio":
        return row % 2 == 0 and column == (row // 2) % len(manners)
    return column == (3 * row + row // len(manners)) % len(manners)
