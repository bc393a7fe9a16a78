"""Questions about an attached medium."""

from __future__ import annotations

from collections.abc import Mapping

from motet.training.nano.dialogues.phrases import split_phrases

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
