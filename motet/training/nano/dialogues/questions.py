"""Questions about attached media, at once or some turns later, and about the media of the model itself."""

from __future__ import annotations

from collections.abc import Mapping

from motet.training.nano.dialogues.phrases import split_phrases

# Yes-or-no questions. {g} is the guess, with its article.
CHECKS = split_phrases(
    """is this {g}?|do you recognise {g}?|is that {g}?|{g}?|is there {g}?|it is {g}, right?
    this is {g}, isn't it?|could it be {g}?|is it perhaps {g}?|am I right that it is {g}?
    I think it is {g}. am I right?|do you see {g}?|does it look like {g}?|does this look like {g} to you?
    would you say that it is {g}?|would you say this is {g}?|can one call it {g}?|can this be {g}?|might it be {g}?
    is what you see {g}?|does it show {g}?|have I attached {g}?|are you sure that it is {g}?|did I send you {g}?
    should I call it {g}?|my friend says it is {g}. is that so?|true or false: this is {g}|yes or no: is it {g}?
    {g} or not?|isn't this {g}?|do you think this is {g}?|do you agree that it is {g}?|it looks like {g}, doesn't it?
    I believe this is {g}. correct?|somebody told me this is {g}. right?|do I have {g} here?|is the thing here {g}?
    tell me whether it is {g}|tell me if this is {g}|say whether this is {g}|check if it is {g}|was it {g}?
    could you call it {g}?|does one call this {g}?|will you call it {g}?|are we dealing with {g}?|so it's {g}?"""
)
# Questions by the modality of the medium, then by the attribute that the answer names ("describe": both attributes).
QUESTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "image": {
        "describe": split_phrases(
            """what is in this picture?|what is in this picture?|what do you see?|describe this picture
            describe the image|what is this?|what is shown here?|what is on this photo?|caption this image
            what can you see in the picture?|tell me what you see|what does the picture show?
            describe what you see|what is in the image?|generate a caption|what's this?|what is depicted?
            please describe this|tell me about this picture|what am I looking at?|explain this image
            what is in the photo?|look at this picture|what have I attached?|what do you see here?
            name what is in the picture|give me a description of this picture|what does this image contain?
            what do you see in this image?|what's in the picture?|what is this, and what colour is behind it?
            name the object and the background"""
        ),
        "subject": split_phrases(
            """what object is this?|which object is it?|what thing is in the picture?|name the object
            what is the main object?|what is in the middle?|which thing do you see?
            what is standing in front of the background?|what kind of thing is this?"""
        ),
        "manner": split_phrases(
            """what colour is the background?|which colour is the background?|what color is the background?
            what's the background?|name the background colour|what is the background colour?
            what color is behind it?|which background does it have?|tell me the colour of the background
            what is the color of the background?|and the background?"""
        ),
    },
    "audio": {
        "describe": split_phrases(
            """what do you hear?|what do you hear?|describe this sound|what is this sound?|what is this?
            what can you hear?|what am I hearing?|listen to this|describe the recording|tell me what you hear
            what does it sound like?|what is in this recording?|caption this sound|describe what you hear
            generate a caption|what is in the audio?|please describe this|what sound is this?
            identify this sound|what's this?|what is being played?|describe the audio
            what do you hear in this recording?|tell me about this sound|what have I attached?
            what's in this audio?|what is playing?|what is the instrument, and which register is it in?
            name the instrument and the register|who is playing, and is it high or low?
            which instrument do you hear, and is the note low, middle or high?|what plays what kind of note?
            tell me the instrument and how high the note is|which note is this, and on what?"""
        ),
        "subject": split_phrases(
            """which instrument is this?|what instrument is this?|which instrument do you hear?
            name the instrument|what is the instrument?|what instrument is playing?|who is playing?
            which instrument plays here?|what kind of instrument is it?|tell me the instrument"""
        ),
        "manner": split_phrases(
            """is it high or low?|how high is it?|is the note high or low?|which register is it in?
            what is the register?|how low is it?|is it a high or a low note?|what kind of note is it?
            is this low, middle or high?|tell me the register"""
        ),
    },
    "video": {
        "describe": split_phrases(
            """what happens in this video?|what happens in this video?|what happens here?|describe this video
            describe the clip|what do you see?|what is in this clip?|what is this?|caption this video
            tell me what happens|what is going on?|what is shown in the video?|describe what happens
            what can you see in the video?|generate a caption|what is happening?|please describe this
            what's this?|tell me about this clip|what does the video show?|what happens in the clip?
            watch this|what have I attached?|what is in the video?|summarise this video|explain this clip
            what do you see in the clip?|what is moving, and which way?|which object is it, and what does it do?"""
        ),
        "subject": split_phrases(
            """what is moving?|what object is this?|which object is in the video?|name the object
            what thing do you see?|who is moving?|what is the main object?|which thing is in the clip?
            what kind of thing is this?"""
        ),
        "manner": split_phrases(
            """how does it move?|where does it go?|which way does it move?|what does it do?
            in which direction does it move?|where is it moving?|what is the motion?|describe the motion
            how is it moving?|is it moving?"""
        ),
    },
}

# Questions about a medium of an earlier turn. "check" has yes-or-no questions.
LATER_QUESTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "image": {
        "describe": split_phrases(
            """what was in the picture?|what was in my picture?|what was in the picture I sent?|describe my picture
            what did my picture show?|what was on the image?|what did you see in the picture?|describe the first picture
            what is in the picture I attached?|back to my picture: what was in it?|what was the picture of?
            what do you see in my picture?|tell me about the picture I sent|remember my picture? what was in it?
            now describe the picture I sent you|what was in the image from before?
            what is on the picture from earlier?|about my picture: what did it have in it?|my picture: what was in it?
            do you recall my picture? describe it|please describe my picture again|what did the picture I gave you show?
            which thing was in my picture, and on which background?|I sent a picture. what was on it?
            think of my picture. what does it show?|what exactly was in my picture?
            tell me again what is in my picture"""
        ),
        "subject": split_phrases(
            """what object was in the picture?|which thing was in my picture?|what object did I send?
            which object was it in the picture?|name the object in my picture|what was the object in the image?"""
        ),
        "manner": split_phrases(
            """what colour was the background of my picture?|which background did my picture have?
            what was the background of the picture?|which colour was behind it in my picture?
            what color was the background of the picture I sent?|what was the background colour in my image?"""
        ),
        "check": split_phrases(
            """was it {g} in the picture?|was there {g} in my picture?|was my picture of {g}?|did my picture show {g}?
            is it {g} in my picture?|is {g} in the picture I sent?|did I send {g}?"""
        ),
    },
    "audio": {
        "describe": split_phrases(
            """what was the sound?|what was my sound?|what did you hear in my recording?|describe my recording
            what was the sound I sent?|what was in my recording?|what did my recording sound like?
            describe the sound I sent|what was playing in the recording?
            back to my sound: what was it?|what do you hear in my sound?
            tell me about the sound from before|what was on the recording from earlier?
            describe the sound from before|about my recording: what was it?|my recording: what did you hear?
            do you recall my sound? describe it|please describe my recording again|what did the sound I gave you have?
            which instrument and which note was in my recording?|I sent a recording. what was it?
            think of my recording. what is on it?|what exactly did my recording have?|tell me again what my sound was"""
        ),
        "subject": split_phrases(
            """which instrument was it?|which instrument was in my recording?|what instrument did I send?
            name the instrument in my recording|which instrument played in the recording?
            what was the instrument in the sound I sent?"""
        ),
        "manner": split_phrases(
            """was my note high or low?|how high was the note I sent?|which register was my recording in?
            was the note in my recording low, middle or high?|was the sound I sent high or low?"""
        ),
        "check": split_phrases(
            """was it {g} in the recording?|was my sound {g}?|did you hear {g} in my recording?|was that sound {g}?
            is it {g} in my recording?|did I send {g}?"""
        ),
    },
    "video": {
        "describe": split_phrases(
            """what was in the clip?|what happened in my video?|what happened in the clip I sent?|describe my video
            what was in the video I sent?|describe my clip|what did my clip show?|what was going on in my video?
            back to my clip: what happened?|what happens in the video I attached?|tell me about the clip from before
            what did you see in my video?|remember my video? what happened in it?|describe the video from earlier
            about my clip: what happened?|my clip: what did it show?|do you recall my video? describe it
            please describe my clip again|what did the clip I gave you show?|I sent a clip. what happened?
            which thing was in my clip, and how did it move?|think of my video. what does it show?
            what exactly happened in my clip?|tell me again what my video shows|what was my clip of?"""
        ),
        "subject": split_phrases(
            """what was moving in the clip?|which object was in my video?|what object did I send?
            which thing was it in my clip?|name the object in my video|who moved in the video?"""
        ),
        "manner": split_phrases(
            """how did it move in my clip?|which way did it move in the video?|what did it do in my video?
            what was the motion in my clip?|how was it moving in the video I sent?"""
        ),
        "check": split_phrases(
            """was it {g} in the clip?|was there {g} in my video?|did my clip show {g}?|is it {g} in my video?
            was that {g} in the video?|did I send {g}?"""
        ),
    },
}
# Questions about the media of the model itself: "any" fits every modality.
OWN_WORK_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "any": split_phrases(
        """what was that?|what was that|what is that?|what did you make?|what did you just make?|what have you made?
        what is this?|what was this?|what did you just do?|tell me what you made|what did I get?|describe what you made
        describe your work|what was it?|what am I looking at?|what have you just made for me?|and what is that?
        what did you send me?|explain what you made|what did you produce?|which thing was that?|name what you made
        do you know what you made?|can you describe what you made?|can you tell me what you made?|what was that again?
        what was that a moment ago?|what exactly was that?|what exactly did you make?|what was it that you made?
        which thing is that?|please name it|what have I got now?|say what you made|could you name that?
        I did not get that, what was it?|what thing did you create?|what did you create here?|what was the result?
        remind me what you made|what is it that you sent?|what was your answer showing?|name the last thing"""
    ),
    "image": split_phrases(
        """what did you draw?|what is in your picture?|what was in your picture?|describe your picture
        which picture did you make?|what have you drawn?|what did you paint?|what is on the picture you made?
        what was the picture you drew?|describe your drawing|what is in the picture you just drew?
        what does your picture show?|tell me what your picture shows|tell me what you drew|which thing did you draw?
        what exactly is in your picture?|name what you drew|what is your drawing of?|what was your picture of?
        remind me what you drew|what did you sketch?|what does your drawing have in it?|what did you draw before?"""
    ),
    "audio": split_phrases(
        """what did you play?|what was your sound?|what was that sound?|describe your sound|which note did you play?
        what have you played?|what was the sound you made?|what was that note?|what did I just hear?
        what did you play for me?|tell me what you played|which sound was yours?|what exactly was your sound?
        name what you played|which instrument and note did you play?|what was your note?|what did your sound have in it?
        remind me what you played|what was your recording?|tell me what your sound was|what did you play before?"""
    ),
    "video": split_phrases(
        """what was in your clip?|what happened in your clip?|describe your clip|which clip did you make?
        what did you film?|what happens in your video?|what was that clip?|what is in the video you made?
        describe your video|what was in the video you made?
        what does your clip show?|tell me what your clip shows|tell me what you filmed|which thing did you film?
        what exactly happens in your clip?|name what you filmed|what was your clip of?|what is your video of?
        remind me what you filmed|what did your clip show?|what did you film before?|what moves in your clip?"""
    ),
    "animation": split_phrases(
        """what was in your animation?|describe your animation|what did you animate?|what was that animation?
        what does your animation show?|what happens in your animation?"""
    ),
    "film": split_phrases(
        """what was in your film?|describe your film|what was that film?|what is your film made of?
        what does your film show?"""
    ),
}
