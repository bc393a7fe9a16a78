"""Tables of phrases for requests. The dialogues are composed from them.

A table is a text with its phrases separated by bars or line ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from motet.training.nano.world.world import Thing, with_article

Choice = TypeVar("Choice")


def split_phrases(text: str) -> tuple[str, ...]:
    """Return the phrases of a table, split at bars and line ends."""
    return tuple(part.strip() for line in text.strip().splitlines() for part in line.split("|") if part.strip())


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """Return one of the choices, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


# Other names of subjects. The answers always use the name in `world`.
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
_ADJECTIVES = split_phrases("big|little|nice|cute|lovely|beautiful|pretty|small|simple|happy|tiny|great")

MOTION_WORDS: Mapping[str, tuple[str, ...]] = {
    "moving left": split_phrases(
        """moving left|moving left|moving to the left|going left|going to the left|that moves left
        that moves to the left|sliding left|travelling left|flying left|drifting left|heading left
        which goes left|moving leftwards|that goes left|running left|moving from right to left
        sliding to the left|flying to the left|driving left"""
    ),
    "moving right": split_phrases(
        """moving right|moving right|moving to the right|going right|going to the right|that moves right
        sliding right|travelling right|flying right|drifting right|heading right|which goes right
        moving rightwards|that goes right|running right|moving from left to right|sliding to the right
        flying to the right|that moves to the right|driving right"""
    ),
    "moving up": split_phrases(
        """moving up|moving up|going up|rising|that rises|moving upwards|flying up|flying upwards|that moves up
        climbing|floating up|ascending|moving upward|shooting up|which goes up|moving to the top
        going upwards|lifting off"""
    ),
    "moving down": split_phrases(
        """moving down|moving down|going down|falling|falling down|dropping|that falls|sinking|moving downwards
        descending|that moves down|coming down|moving downward|which goes down|that drops
        moving to the bottom"""
    ),
    "growing": split_phrases(
        """growing|growing|growing|getting bigger|that grows|becoming bigger|becoming larger|getting larger
        growing bigger|that gets bigger|expanding|increasing in size|swelling|growing larger|which grows
        that is growing"""
    ),
    "turning": split_phrases(
        """turning|turning|turning|rotating|spinning|that turns|turning around|turning upside down|that spins
        that rotates|spinning around|revolving|which turns|turning over|that is turning|rotating around"""
    ),
}
MOTION_VERBS: Mapping[str, tuple[str, ...]] = {
    "moving left": split_phrases("move left|go left|move to the left|fly left|slide left|go to the left"),
    "moving right": split_phrases("move right|go right|move to the right|fly right|slide right|go to the right"),
    "moving up": split_phrases("move up|go up|rise|fly up|move upwards|float up"),
    "moving down": split_phrases("move down|go down|fall|drop|move downwards|fall down"),
    "growing": split_phrases("grow|get bigger|become larger|expand|grow bigger"),
    "turning": split_phrases("turn|spin|rotate|turn around|turn over|turn upside down"),
}

# {n}, {b}, {r} and {i} are the noun, background, register and instrument with an article; {xn}, {xb}, {xr} and {xi}
# without; {m} is a motion.
_PICTURES = split_phrases(
    """{n} on {b} background|{n} on {b} background|{n} on {b} background|{n} on {xb}|{n} against {b} background
    {n} with {b} background|{n} in front of {b} background|{n}, {xb} background|{n} over {b} background
    {xn} on {xb}|{xn} on {b} background|the {xn} on {b} background|{n} on {b} backdrop
    {n} on a background of {xb}|{n} where the background is {xb}|{n} against {xb}|{n} on the {xb} background
    {xn}, {xb} background|{n} and {b} background|{n} before {b} background|one {xn} on {b} background
    {n} with {xb} behind it"""
)
_SOUNDS = split_phrases(
    """{r} note on {i}|{r} note on {i}|{r} note on {i}|{r} {xi} note|{i} playing {r} note|{r} note played on {i}
    {r} note from {i}|{i} in the {xr} register|{r} note on the {xi}|{r} note of {i}|{r} tone on {i}
    {r} {xi} sound|{r} sound on {i}|{r} {xi}|{xi}, {xr} note|{i} with {r} note|one {xr} note on the {xi}
    {xr} note on {i}|{r} tone from {i}|{xr} {xi} note|the {xr} note of {i}|{i} note in the {xr} register
    the {xi} playing {r} note"""
)
_CLIPS = split_phrases(
    "{n} {m}|{n} {m}|{n} {m}|{n} {m}|the {xn} {m}|{xn} {m}|one {xn} {m}|{n} {m} on a white background"
)


def phrase(thing: Thing, rng: np.random.Generator) -> str:
    """Return a phrase for the thing with both attributes: "a dog on blue"."""
    subject, manner = _alias(thing.subject, ALIASES, rng), _alias(thing.manner, _MANNER_ALIASES, rng)
    plain = subject
    if thing.modality != "audio" and rng.random() < 0.06:
        subject = f"{pick(rng, _ADJECTIVES)} {subject}"
    match thing.modality:
        case "image":
            template = pick(rng, _PICTURES)
            return template.format(n=with_article(subject), xn=plain, b=with_article(manner), xb=manner)
        case "audio":
            template = pick(rng, _SOUNDS)
            return template.format(i=with_article(subject), xi=subject, r=with_article(manner), xr=manner)
        case _:
            motion = pick(rng, MOTION_WORDS[thing.manner])
            return pick(rng, _CLIPS).format(n=with_article(subject), xn=plain, m=motion)


def subject_phrase(thing: Thing, rng: np.random.Generator) -> str:
    """Return a phrase for the thing's subject only: "a dog", "the piano"."""
    subject = _alias(thing.subject, ALIASES, rng)
    return f"the {subject}" if rng.random() < 0.15 else with_article(subject)


def _alias(word: str, aliases: Mapping[str, tuple[str, ...]], rng: np.random.Generator) -> str:
    return pick(rng, aliases[word]) if word in aliases and rng.random() < 0.3 else word


# Complete requests by modality, in lower case. {p} is the phrase for the thing.
REQUESTS: Mapping[str, tuple[str, ...]] = {
    "image": split_phrases(
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
    "audio": split_phrases(
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
    "video": split_phrases(
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
# Requests for clips. {n} is the noun with its article, {v} the verb of the motion.
MOTION_COMMANDS = split_phrases(
    "make {n} {v}|let {n} {v}|show how {n} can {v}|show me how {n} would {v}|I want {n} to {v}|have {n} {v}"
)

# List entries by modality ("a picture of a dog, the sound of a flute"). {p} is the phrase for the thing.
LIST_ENTRIES: Mapping[str, tuple[str, ...]] = {
    "image": split_phrases(
        "a picture of {p}|an image of {p}|a drawing of {p}|{p}|picture of {p}|a painting of {p}|a photo of {p}"
    ),
    "audio": split_phrases("the sound of {p}|a recording of {p}|{p}|a sound of {p}|audio of {p}|the sound of {p}"),
    "video": split_phrases(
        "a video of {p}|a clip of {p}|{p}|an animation of {p}|a movie of {p}|a short clip of {p}|a film of {p}|a little film of {p}"
    ),
}
# Requests for a list of media. {l} is the list.
LIST_REQUESTS = split_phrases(
    """give me {l}|I want {l}|I would like {l}|I'd like {l}|make {l}|create {l}|generate {l}|please make {l}
    I need {l}|send me {l}|produce {l}|can I have {l}|could I get {l}|I want to have {l}|make me {l}|{l}
    could you make {l}|we need {l}|prepare {l}|let me have {l}|get me {l}|my list: {l}|the order is: {l}
    these things: {l}|I ordered {l}|make all of this: {l}|I wish for {l}|this is what I want: {l}|to do: {l}
    could you get me these: {l}|here is what I need: {l}|all of these, please: {l}|bring me {l}|I am looking for {l}
    can you do {l}|would you make these things: {l}|my wishes are {l}|for today: {l}|I'd love {l}|we would like {l}
    please deliver {l}|next come {l}|give us {l}|the list is {l}|now {l}|I would really like to get {l}
    I would be happy to receive {l}|we would be glad to see {l}|I have the following wishes: {l}|here are my wishes: {l}
    my shopping list is this: {l}|would you kindly prepare all of this: {l}|could you please do the following: {l}
    will you make the following things for me: {l}|I would enjoy {l}|here comes the list of what I want: {l}
    here is a longer list: {l}|this is my order: {l}|please make the following things: {l}|I should like to see {l}
    can you send me everything on this list: {l}|may I ask for {l}|I hope to get {l}|all I wish for is {l}"""
)
# Not split by `split_phrases`, because the spaces are part of the conjunctions.
CONJUNCTIONS = (
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
SENTENCE_OPENERS = split_phrases("then|and|next|after that|also|now|finally|and then|and also|-")

COURTESY_BEFORE = split_phrases(
    """please|hi,|hello,|hey,|ok,|okay,|so,|hey Motet,|hi Motet,|hello!|hi!|now|pls|good morning,|well,
    hi there,|could you please|can you please|dear Motet,|I have an idea:|thanks!|great."""
)
QUESTION_OPENERS = split_phrases(
    """say,|and|so|so,|well,|hm,|one question:|just to be sure:|be honest:|hey,|okay,|quick question:|please tell me:
    I wonder:|now then,|excuse me,|wait,|right,|please say,|pardon,|let me ask:|nice, but|good, and|thanks, and|motet,
    can you tell me:|I want to know:|ah,|hello,|next question:|please,"""
)
COURTESY_AFTER = split_phrases(
    "please|thanks|thank you|for me|please!|if you can|for my daughter|now|pls|thank you very much|, please|, thanks"
)

# Requests that refer to an existing thing. The placeholders are those above; {v} is the verb of a motion.
BACKGROUND_CHANGES = split_phrases(
    """now on {b} background|and on {b} background?|the same on {b} background|same thing on {b} background
    now with {b} background|make the background {xb}|change the background to {xb}|what about {b} background?
    make it {xb}|and with {xb}?|on {xb} please|now {xb}|can you make the background {xb}?|again, but on {xb}
    put it on {b} background|show it on {b} background|show the same thing on {b} background|draw it on {xb}
    I'd prefer {b} background|{xb} background please|try {b} background|draw the same on {b} background
    show it again on {b} background|and now on {b} background|the same picture, but on {xb}
    use {b} background instead"""
)
NOUN_CHANGES = split_phrases(
    """now {n} instead|the same with {n}|now with {n}|and {n}?|what about {n}?|make it {n}|replace it with {n}
    {n} instead|the same background, but {n}|change it to {n}|now draw {n} there|and now {n}|use {n} instead"""
)
REGISTER_CHANGES = split_phrases(
    """now {xr}|and {r} one?|now {r} note|make it {xr}|play it {xr}|the same, but {xr}|{r} one, please
    and now {r} note|again, but {xr}|now in the {xr} register|play {r} one|try {r} note
    same instrument, {r} note|what about {r} note?"""
)
INSTRUMENT_CHANGES = split_phrases(
    """now on {i}|on {i} instead|and on {i}?|the same on {i}|same note on {i}|play it on {i}|what about {i}?
    now with {i}|try {i}|the same note on {i}|and now on {i}|replace it with {i}|play the same on {i}"""
)
MOTION_CHANGES = split_phrases(
    """now {m}|make it {v}|let it {v}|the same, but {m}|now make it {v}|and {m}?|again, but {m}|have it {v}
    can it {v}?|animate it so that it is {m}|make a clip of it {m}|a video of it {m}|show it {m}
    I want it to {v}|make a video of it {m}|make this {v}|animate this {m}"""
)
MOVER_CHANGES = split_phrases(
    """now {n}|the same with {n}|{n} instead|and {n}?|what about {n}?|now do it with {n}|make it {n}
    replace it with {n}|the same motion, but {n}|now {n} instead|and now {n}|use {n} instead"""
)
