"""How people word what they want of the nano world: the raw material of the dialogues.

Tables are texts with one wording per line or between bars, so that they read as a list and grow by typing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from motet.training.nano.world.world import Thing, article

Choice = TypeVar("Choice")


def bars(text: str) -> tuple[str, ...]:
    """The wordings of a table, split at bars and line ends."""
    return tuple(part.strip() for line in text.strip().splitlines() for part in line.split("|") if part.strip())


def pick(generator: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """One of the choices, all equally likely."""
    return choices[int(generator.integers(len(choices)))]


# What people also call a thing; the answers always use the world's own word.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "red apple": ("apple",),
    "orange": ("orange fruit",),
    "hamburger": ("burger",),
    "fish": ("tropical fish",),
    "tree": ("pine tree", "evergreen tree"),
    "snowman": ("snow man",),
    "bicycle": ("bike",),
    "airplane": ("plane", "aeroplane"),
    "sailboat": ("boat", "sailing boat"),
    "football": ("soccer ball", "ball"),
    "gift": ("present", "gift box"),
    "pumpkin": ("jack-o'-lantern",),
    "heart": ("red heart",),
    "car": ("red car",),
    "balloon": ("red balloon",),
    "guitar": ("acoustic guitar",),
    "piano": ("grand piano",),
    "organ": ("church organ", "pipe organ"),
    "violin": ("fiddle",),
    "music box": ("musical box",),
}
_MANNER_ALIASES: Mapping[str, tuple[str, ...]] = {
    "purple": ("violet",),
    "low": ("deep", "low-pitched", "very low", "bass"),
    "middle": ("medium", "mid", "mid-range"),
    "high": ("high-pitched", "very high"),
}
_ADJECTIVES = bars("big|little|nice|cute|lovely|beautiful|pretty|small|simple|happy|tiny|great")

MOTION_WORDS: Mapping[str, tuple[str, ...]] = {
    "moving left": bars(
        """moving left|moving left|moving to the left|going left|going to the left|that moves left
        that moves to the left|sliding left|travelling left|flying left|drifting left|heading left
        which goes left|moving leftwards|that goes left|running left|moving from right to left
        sliding to the left|flying to the left|driving left"""
    ),
    "moving right": bars(
        """moving right|moving right|moving to the right|going right|going to the right|that moves right
        sliding right|travelling right|flying right|drifting right|heading right|which goes right
        moving rightwards|that goes right|running right|moving from left to right|sliding to the right
        flying to the right|that moves to the right|driving right"""
    ),
    "moving up": bars(
        """moving up|moving up|going up|rising|that rises|moving upwards|flying up|flying upwards|that moves up
        climbing|floating up|ascending|moving upward|shooting up|which goes up|moving to the top
        going upwards|lifting off"""
    ),
    "moving down": bars(
        """moving down|moving down|going down|falling|falling down|dropping|that falls|sinking|moving downwards
        descending|that moves down|coming down|moving downward|which goes down|that drops
        moving to the bottom"""
    ),
    "growing": bars(
        """growing|growing|growing|getting bigger|that grows|becoming bigger|becoming larger|getting larger
        growing bigger|that gets bigger|expanding|increasing in size|swelling|growing larger|which grows
        that is growing"""
    ),
    "turning": bars(
        """turning|turning|turning|rotating|spinning|that turns|turning around|turning upside down|that spins
        that rotates|spinning around|revolving|which turns|turning over|that is turning|rotating around"""
    ),
}
MOTION_VERBS: Mapping[str, tuple[str, ...]] = {
    "moving left": bars("move left|go left|move to the left|fly left|slide left|go to the left"),
    "moving right": bars("move right|go right|move to the right|fly right|slide right|go to the right"),
    "moving up": bars("move up|go up|rise|fly up|move upwards|float up"),
    "moving down": bars("move down|go down|fall|drop|move downwards|fall down"),
    "growing": bars("grow|get bigger|become larger|expand|grow bigger"),
    "turning": bars("turn|spin|rotate|turn around|turn over|turn upside down"),
}

# {n} is the noun with its article, {b} a background with its article, {x} the bare word of either.
_PICTURES = bars(
    """{n} on {b} background|{n} on {b} background|{n} on {b} background|{n} on {xb}|{n} against {b} background
    {n} with {b} background|{n} in front of {b} background|{n}, {xb} background|{n} over {b} background
    {xn} on {xb}|{xn} on {b} background|the {xn} on {b} background|{n} on {b} backdrop
    {n} on a background of {xb}|{n} where the background is {xb}|{n} against {xb}|{n} on the {xb} background
    {xn}, {xb} background|{n} and {b} background|{n} before {b} background|one {xn} on {b} background
    {n} with {xb} behind it"""
)
_SOUNDS = bars(
    """{r} note on {i}|{r} note on {i}|{r} note on {i}|{r} {xi} note|{i} playing {r} note|{r} note played on {i}
    {r} note from {i}|{i} in the {xr} register|{r} note on the {xi}|{r} note of {i}|{r} tone on {i}
    {r} {xi} sound|{r} sound on {i}|{r} {xi}|{xi}, {xr} note|{i} with {r} note|one {xr} note on the {xi}
    {xr} note on {i}|{r} tone from {i}|{xr} {xi} note|the {xr} note of {i}|{i} note in the {xr} register
    the {xi} playing {r} note"""
)
_CLIPS = bars("{n} {m}|{n} {m}|{n} {m}|{n} {m}|the {xn} {m}|{xn} {m}|one {xn} {m}|{n} {m} on a white background")


def phrase(thing: Thing, generator: np.random.Generator) -> str:
    """The thing as people put it, without saying what is to be done: "a dog on blue"."""
    subject, manner = _called(thing.subject, ALIASES, generator), _called(thing.manner, _MANNER_ALIASES, generator)
    plain = subject
    if thing.modality != "audio" and generator.random() < 0.06:
        subject = f"{pick(generator, _ADJECTIVES)} {subject}"
    match thing.modality:
        case "image":
            wording = pick(generator, _PICTURES)
            return wording.format(n=article(subject), xn=plain, b=article(manner), xb=manner)
        case "audio":
            wording = pick(generator, _SOUNDS)
            return wording.format(i=article(subject), xi=subject, r=article(manner), xr=manner)
        case _:
            motion = pick(generator, MOTION_WORDS[thing.manner])
            return pick(generator, _CLIPS).format(n=article(subject), xn=plain, m=motion)


def subject_phrase(thing: Thing, generator: np.random.Generator) -> str:
    """The thing's subject alone: "a dog", "the piano"."""
    subject = _called(thing.subject, ALIASES, generator)
    return f"the {subject}" if generator.random() < 0.15 else article(subject)


def _called(word: str, aliases: Mapping[str, tuple[str, ...]], generator: np.random.Generator) -> str:
    return pick(generator, aliases[word]) if word in aliases and generator.random() < 0.3 else word


# Full requests, by modality; {p} is the phrase. Lower case: whoever starts a sentence capitalises.
REQUESTS: Mapping[str, tuple[str, ...]] = {
    "image": bars(
        """show me {p}|show me {p}|draw {p}|draw {p}|draw me {p}|paint {p}|paint me {p}|sketch {p}
        create a picture of {p}|make a picture of {p}|make me an image of {p}|generate an image of {p}
        generate a picture of {p}|produce an image of {p}|give me a picture of {p}|give me an image of {p}
        let me see {p}|display {p}|design {p}|illustrate {p}|render {p}|render a picture of {p}
        create an image of {p}|create an illustration of {p}|make a drawing of {p}|draw a picture of {p}
        imagine {p}|visualise {p}|show {p}|show a picture of {p}|show me a picture of {p}
        show me an image of {p}|I want {p}|I would like {p}|I'd like to see {p}|I want to see {p}
        I would love to see {p}|I want a picture of {p}|I need a picture of {p}|I need an image of {p}
        I need {p}|I'd like an image of {p}|I would like a drawing of {p}|can you draw {p}|could you draw {p}
        can you show me {p}|could you show me {p}|would you paint {p}|will you draw {p}|can I see {p}
        may I see {p}|can I have a picture of {p}|could I get an image of {p}|would you make a picture of {p}
        how about a picture of {p}|what does {p} look like|a picture of {p}|an image of {p}|picture of {p}
        image of {p}|a drawing of {p}|a painting of {p}|a photo of {p}|photo of {p}|an illustration of {p}
        make an image of {p}|make {p}|create {p}|generate {p}|I want to look at {p}|show us {p}
        please show {p}|a nice picture of {p}|try to draw {p}|let's see {p}|give me {p}
        send me a picture of {p}"""
    ),
    "audio": bars(
        """play {p}|play {p}|play {p}|play me {p}|play us {p}|let me hear {p}|let me listen to {p}
        I want to hear {p}|I'd like to hear {p}|I would like to hear {p}|I would love to hear {p}
        can I hear {p}|may I hear {p}|could you play {p}|can you play {p}|please play {p}|would you play {p}
        will you play {p}|make the sound of {p}|give me the sound of {p}|give me a recording of {p}
        generate the sound of {p}|generate audio of {p}|create the sound of {p}
        create an audio recording of {p}|produce the sound of {p}|perform {p}|sound {p}|the sound of {p}
        a recording of {p}|audio of {p}|an audio clip of {p}|I want to listen to {p}|strike {p}
        what does {p} sound like|how does {p} sound|I want the sound of {p}|I need the sound of {p}
        record {p}|generate a sound: {p}|make a sound: {p}|I'd like the sound of {p}|let's hear {p}
        generate {p}|can we hear {p}|I need a recording of {p}|play a sound of {p}|make a recording of {p}
        try to play {p}|create {p}|could you make the sound of {p}|I want a sound of {p}|give me {p}
        sound of {p}|play the sound of {p}"""
    ),
    "video": bars(
        """make a clip of {p}|make a clip of {p}|make a video of {p}|make a video of {p}|show me a video of {p}
        show me a clip of {p}|create a clip of {p}|create a video of {p}|generate a video of {p}
        generate a clip of {p}|film {p}|animate {p}|I want to watch {p}|I'd like to watch {p}
        let me watch {p}|can you make a video of {p}|could you make a clip of {p}|produce a video of {p}
        record a video of {p}|give me a video of {p}|give me a clip of {p}|show me an animation of {p}
        make an animation of {p}|a video of {p}|a clip of {p}|video of {p}|an animation of {p}|a movie of {p}
        show me {p}|I want to see {p}|I'd like to see {p}|could you animate {p}|I want a video of {p}
        I need a clip of {p}|I would like a video of {p}|let me see {p}|make a short video of {p}
        make a movie of {p}|a short clip of {p}|clip of {p}|can I see a video of {p}|play a video of {p}
        make a little film of {p}|a film of {p}|I would like a film of {p}|a brief video of {p}|show me a film of {p}
        show a video of {p}|create an animation of {p}|I want a clip of {p}|I need a video of {p}
        can I watch {p}|send me a video of {p}|generate an animation of {p}"""
    ),
}
# "Make a car move left": {n} and a verb, only for clips.
COMMANDS = bars(
    "make {n} {v}|let {n} {v}|show how {n} can {v}|show me how {n} would {v}|I want {n} to {v}|have {n} {v}"
)

# Marks a phrase in a list ("a picture of a dog, the sound of a flute"), by modality; "{p}" alone is unmarked.
MARKED: Mapping[str, tuple[str, ...]] = {
    "image": bars(
        "a picture of {p}|an image of {p}|a drawing of {p}|{p}|picture of {p}|a painting of {p}|a photo of {p}"
    ),
    "audio": bars("the sound of {p}|a recording of {p}|{p}|a sound of {p}|audio of {p}|the sound of {p}"),
    "video": bars(
        "a video of {p}|a clip of {p}|{p}|an animation of {p}|a movie of {p}|a short clip of {p}|a film of {p}|a little film of {p}"
    ),
}
LISTS = bars(
    """give me {l}|I want {l}|I would like {l}|I'd like {l}|make {l}|create {l}|generate {l}|please make {l}
    I need {l}|send me {l}|produce {l}|can I have {l}|could I get {l}|I want to have {l}|make me {l}|{l}
    could you make {l}|we need {l}"""
)
# Not a table of `bars`: the spaces count.
JOINTS = (
    ", then ",
    " and ",
    " and ",
    ", and ",
    ", and then ",
    "; ",
    ", ",
    " plus ",
    " and also ",
    ", followed by ",
    " as well as ",
    " & ",
)
SENTENCES = bars("then|and|next|after that|also|now|finally|and then|and also|-")

BEFORE = bars(
    """please|hi,|hello,|hey,|ok,|okay,|so,|hey Motet,|hi Motet,|hello!|hi!|now|pls|good morning,|well,
    hi there,|could you please|can you please|dear Motet,|I have an idea:|thanks!|great."""
)
AFTER = bars(
    "please|thanks|thank you|for me|please!|if you can|for my daughter|now|pls|thank you very much|, please|, thanks"
)

MORE_PICTURES = bars(
    """now on {b} background|and on {b} background?|the same on {b} background|same thing on {b} background
    now with {b} background|make the background {xb}|change the background to {xb}|what about {b} background?
    make it {xb}|and with {xb}?|on {xb} please|now {xb}|can you make the background {xb}?|again, but on {xb}
    put it on {b} background|show it on {b} background|show the same thing on {b} background|draw it on {xb}
    I'd prefer {b} background|{xb} background please|try {b} background|draw the same on {b} background
    show it again on {b} background|and now on {b} background|the same picture, but on {xb}
    use {b} background instead"""
)
OTHER_PICTURES = bars(
    """now {n} instead|the same with {n}|now with {n}|and {n}?|what about {n}?|make it {n}|replace it with {n}
    {n} instead|the same background, but {n}|change it to {n}|now draw {n} there|and now {n}|use {n} instead"""
)
MORE_SOUNDS = bars(
    """now {xr}|and {r} one?|now {r} note|make it {xr}|play it {xr}|the same, but {xr}|{r} one, please
    and now {r} note|again, but {xr}|now in the {xr} register|play {r} one|try {r} note
    same instrument, {r} note|what about {r} note?"""
)
OTHER_SOUNDS = bars(
    """now on {i}|on {i} instead|and on {i}?|the same on {i}|same note on {i}|play it on {i}|what about {i}?
    now with {i}|try {i}|the same note on {i}|and now on {i}|replace it with {i}|play the same on {i}"""
)
MORE_CLIPS = bars(
    """now {m}|make it {v}|let it {v}|the same, but {m}|now make it {v}|and {m}?|again, but {m}|have it {v}
    can it {v}?|animate it so that it is {m}|make a clip of it {m}|a video of it {m}|show it {m}
    I want it to {v}|make a video of it {m}|make this {v}|animate this {m}"""
)
OTHER_CLIPS = bars(
    """now {n}|the same with {n}|{n} instead|and {n}?|what about {n}?|now do it with {n}|make it {n}
    replace it with {n}|the same motion, but {n}|now {n} instead|and now {n}|use {n} instead"""
)
