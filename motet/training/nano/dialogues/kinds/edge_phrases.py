"""Tables of phrases for animations of pictures and for films of a clip and a sound."""

from __future__ import annotations

from motet.training.nano.dialogues.phrases import split_phrases

# {v} is the verb of a motion, {m} its participle, {x} a word for the picture or its noun.
ANIMATION_REQUESTS = split_phrases(
    """animate it {m}|animate it so that it is {m}|animate the {x} {m}|animate the {x}, {m}|let it {v}|let the {x} {v}
    make it {v}|make the {x} {v}|now let it {v}|now make it {v}|then let it {v}|have it {v}|have the {x} {v}
    bring it to life, {m}|bring the {x} to life, {m}|set it in motion, {m}|let me see it {m}|show it {m}
    show the {x} {m}
    turn it into an animation of it {m}|an animation of it {m}|an animation of this {x} {m}|can it {v}
    can you make it {v}
    can you animate the {x} so that it is {m}|could you let the {x} {v}|I want it to {v}|I want to see it {m}
    I want the {x} to {v}|animate this {x} {m}|animate that {m}|make this {v}|animate this, {m}|now animate it {m}
    now {m}|now it should {v}|it should {v}|the {x} should {v}|use the {x} for an animation of it {m}|and now let it {v}
    make a moving version of it, {m}|make an animation of the {x} {m}|give me an animation of it {m}|and it should {v}
    help it {v}|cause it to {v}|tell it to {v}|watch it {v}|I'd like to see the {x} {m}|the {x} must {v}|it has to {v}
    show me how it would {v}|how does it look {m}|what if it were {m}|the {x}, but {m}|the same, {m}|once again, {m}
    then I want to watch it {m}|when it is done, let it {v}|as soon as you have it, make it {v}|after that, {m}
    let the thing in the {x} {v}|the object of my {x} should {v}|take this {x} and let it {v}|use my {x} and make it {v}
    make what is in the {x} {v}|I want the thing on this {x} to {v}|can what the {x} shows {v}
    I took this {x}, let it {v}|here is my {x}, make the thing {v}|will the object of this {x} {v}
    how would the thing of my {x} look {m}|hand me the {x} {m}|bring it to {v}|I'd like to have the {x} {m}
    force it to {v}|then give me it {m}|then hand me the {x} {m}|once it is there, bring it to {v}
    when you have it, I want it to {v}|would the {x} {v}|can the {x} {v}, please|could it {v}|let's see it {m}
    then the {x} {m}|then show it {m}
    get the {x} to {v}|when that is finished, please have it {v}|after it is drawn, please make it {v}
    then get it to {v}|as soon as it is there, kindly let it {v}|when you are done, please bring it to {v}
    with that done, make it {v}|after you have drawn it, please let it {v}|once that is ready, see that it will {v}
    please get my {x} to {v}"""
)
# {p} is a picture, the first of several media.
FIRST_PICTURES = split_phrases(
    """first of all I want {p}|begin with {p}|as the first thing, {p}|{p} to begin with|I want {p} to start with
    to start, {p}|first {p}|at first draw {p}|in the beginning, {p}|start by drawing {p}|{p} comes first
    first I'd like {p}|open with {p}|we start from {p}|I must have {p} first|I want to get {p} first|give me {p} first
    {p} is what I need at first"""
)
# The motion is missing.
OPEN_ANIMATION_REQUESTS = split_phrases(
    """animate it|animate the {x}|make it move|bring it to life|set it in motion|let it move|animate this|now animate it
    animate the {x}, please|can you animate it|make the {x} move|an animation of it|turn it into an animation
    animate that"""
)
# Sentences before an open request. They name its motion.
MOTION_WISHES = split_phrases(
    """I would like to see it {m}.|how would this look {m}?|I imagine it {m}.|think of it {m}.
    I have always wanted it to {v}.|I ask myself how it looks {m}.|I am curious how this {x} would look {m}.
    picture it {m}.|it would be nice {m}.
    I'd love to know how it looks {m}.|what would this look like {m}?|let's imagine the {x} {m}.|it is meant to {v}.
    I dream of it {m}.|tell me, how does it look {m}?|it could {v}.|I guess it can {v}.|I wish it would {v}."""
)
# {s} is a word for the sound, {c} a word for the clip, {w} a new word: any verb with two objects joins them.
FILM_REQUESTS = split_phrases(
    """put both together|put them together|put the two together|now put both together|combine both|combine them
    combine the {c} and the {s}|combine the {c} with the {s}|join them|join both into one film|join the {c} and the {s}
    put the {s} under the {c}|put the {s} under it|put the {s} on the {c}|add the {s} to the {c}|add the {s} to it
    add that {s} to the {c}|lay the {s} under the {c}|merge the two|merge the {c} with the {s}|merge both
    make a film of both|make one film of both|make a film with both|make a film with sound of it|make one video of them
    use the {s} as the soundtrack|use the {s} as the sound of the {c}|give the {c} the {s}|give the {c} this sound
    mix them into one film|both in one film|one film with both|play the {s} with the {c}|play the {s} under the {c}
    let the {s} play under the {c}|set the {c} to the {s}|the {s} goes under the {c}|score the {c} with the {s}
    turn both into a film with sound|now a film of both|and now both together|both together, please|blend the two
    fuse them|connect the two|bring both together|bring the {c} and the {s} together|stitch them together
    pair the {c} with the {s}|place the {s} behind the {c}|put the {s} below the {c}|move the {s} under the {c}
    attach the {s} to the {c}|the {c} needs the {s}|the {c} with the {s}, as one film|overlay the {s} on the {c}
    a film from both|make it one film|both of them in a single clip|now one clip with sound|dub the {c} with the {s}
    lay the {s} over the {c}|run the {s} along with the {c}|sync the {s} with the {c}|let them be one film
    weave the two together|tie them together|bind the two|marry the two|link both|melt them into one
    mount both as a film|couple the two|wed the {s} to the {c}|knit both together|assemble the two|make the two one
    they belong together|{w} the two|please {w} them|{w} both|{w} the {c} and the {s}|{w} the two as one film
    pack both in one file|cut them together|wrap the two up as a film|make them a pair|unify both in one clip"""
)
SOUND_WORDS = split_phrases("sound|note|sound|note|audio|tone|music")
# Beginnings of a later prompt.
PRAISE = split_phrases("nice.|very good.|super.|thank you.|well done.|fine,|good,|cool.|thanks.|excellent.|ok, now|and")
CLIP_WORDS = {
    "animation": split_phrases("animation|clip|video|animation|moving picture"),
    "video": split_phrases("clip|video|clip|video|film"),
}
# One request for a clip and its sound: {c} is the request for the clip, {s} the phrase for the sound.
CLIPS_WITH_SOUND = split_phrases(
    """{c} with {s} under it|{c} with {s}|{c} to the sound of {s}|{c} while {s} plays|{c}, with {s} as the soundtrack
    {c} with the sound of {s}|{c}, set to {s}|{c} accompanied by {s}|{c} and add {s} to it|{c} and put {s} under it
    {c}, with {s} underneath|{c} over {s}"""
)
NO_PICTURE = "There is no picture to animate. Please attach one, or let me draw one first."
NO_FILM = "I need a clip and a sound for a film. Please send them, or let me make them first."
DEFAULT_MOTION = "You named no motion, so here it is {m}."
