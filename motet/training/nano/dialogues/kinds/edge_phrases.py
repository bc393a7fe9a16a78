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
    make a moving version of it, {m}|make an animation of the {x} {m}|give me an animation of it {m}"""
)
# The motion is missing.
OPEN_ANIMATION_REQUESTS = split_phrases(
    """animate it|animate the {x}|make it move|bring it to life|set it in motion|let it move|animate this|now animate it
    animate the {x}, please|can you animate it|make the {x} move|an animation of it|turn it into an animation
    animate that"""
)
# {s} is a word for the sound, {c} a word for the clip.
FILM_REQUESTS = split_phrases(
    """put both together|put them together|put the two together|now put both together|combine both|combine them
    combine the {c} and the {s}|combine the {c} with the {s}|join them|join both into one film|join the {c} and the {s}
    put the {s} under the {c}|put the {s} under it|put the {s} on the {c}|add the {s} to the {c}|add the {s} to it
    add that {s} to the {c}|lay the {s} under the {c}|merge the two|merge the {c} with the {s}|merge both
    make a film of both|make one film of both|make a film with both|make a film with sound of it|make one video of them
    use the {s} as the soundtrack|use the {s} as the sound of the {c}|give the {c} the {s}|give the {c} this sound
    mix them into one film|both in one film|one film with both|play the {s} with the {c}|play the {s} under the {c}
    let the {s} play under the {c}|set the {c} to the {s}|the {s} goes under the {c}|score the {c} with the {s}
    turn both into a film with sound|now a film of both|and now both together|both together, please"""
)
SOUND_WORDS = split_phrases("sound|note|sound|note|audio|tone|music")
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
