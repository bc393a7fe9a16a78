"""What people ask of the nano model that is not one of its things, and what it answers.

Answers are short, true of the nano bundle, and few: a small model that knows six sentences by heart says them well.
"""

from __future__ import annotations

from collections.abc import Mapping

from motet.training.nano.dialogues.phrases import bars

GREETING = "Hello! I am Motet. I can draw pictures, play notes and make clips. What would you like?"
ABILITIES = (
    "I can draw simple pictures such as a penguin on a blue background, play notes such as a low note on a flute, "
    "and make clips such as a rocket moving up. I can also tell you what is in yours."
)
IDENTITY = "I am Motet, a small model that reads and writes text, pictures, sounds and clips."
FEELING = "I am well, thank you! What shall I draw, play or film?"
THANKS = "You are welcome!"
FAREWELL = "Goodbye!"
BEYOND = "I am a small model and do not know that. I can only draw simple pictures, play notes and make clips."
NOTHING_ATTACHED = "I do not see anything attached. Please attach a picture, a sound or a clip."

TALK: Mapping[str, tuple[str, ...]] = {
    GREETING: bars(
        """hello|hi|hey|hello!|hi there|good morning|good evening|hello motet|hi motet|hey there|greetings
        good afternoon|hiya|hello there|yo|good day|hello, who is there?|hi!|howdy|hey motet|morning!
        hello again"""
    ),
    ABILITIES: bars(
        """what can you do?|what can you do|help|what do you know?|what can you draw?|what can you play?
        what can I ask you?|how do you work?|what are you able to do?|tell me what you can do
        what are your abilities?|what can I do here?|which things can you draw?
        which instruments do you know?|can you draw?|can you make videos?|can you play music?
        what kind of pictures can you make?|what should I ask?|show me what you can do|how can you help me?
        help me|what are you good at?|give me an example|what sounds can you make?|can you make pictures?
        what do you do?"""
    ),
    IDENTITY: bars(
        """who are you?|what are you?|what is your name?|who are you|are you a robot?|are you human?
        tell me about yourself|what is motet?|who made you?|what's your name?|are you an ai?
        what kind of model are you?|introduce yourself|are you a person?|do you have a name?
        who am I talking to?|are you real?|which model are you?"""
    ),
    FEELING: bars(
        """how are you?|how are you doing?|how do you do?|how is it going?|are you well?|how do you feel?
        how are things?|what's up?|how are you today?|everything fine?|are you okay?|how have you been?
        hi, how are you?|how's life?"""
    ),
    THANKS: bars(
        """thank you|thanks|thank you!|thanks a lot|great, thanks|nice|well done|that is lovely|very good
        beautiful|cool|wow|good job|I like it|perfect|awesome|thank you very much|that's great
        lovely, thank you|nice work|great|super"""
    ),
    FAREWELL: bars("bye|goodbye|see you|bye bye|see you later|good night|farewell|that is all|I am done|ciao|so long"),
    BEYOND: bars(
        """what is the capital of france?|how much is two plus two?|who won the world cup?|what time is it?
        write a poem|tell me a joke|what is the weather like?|translate this into german
        who is the president?|write some code|what is the meaning of life?|how do I cook rice?
        why is the sky blue?|what is 17 times 3?|recommend a book|explain quantum physics|what day is it?
        where is berlin?|how old are you?|do you love me?|sing me a song|write an essay about dogs
        what is a neural network?|how far is the moon?|solve this equation|order a pizza for me|book a flight
        read my email|what is the news?|who wrote hamlet?|how tall is mount everest?|tell me a story
        spell banana|count to ten|what is the best car?|can you drive a car?|do you like pizza?
        where do penguins live?|what do bees eat?|how does a rocket work?|who invented the piano?
        is a whale a fish?|how many strings has a violin?|are you conscious?|what languages do you speak?
        write a letter to my boss|summarise this text|give me advice|how do I learn the guitar?
        what colour is the sky?|is it raining?|define love|play chess with me|blah blah
        who discovered america?|what is the square root of nine?|what is for dinner?|fix my computer|asdf
        lorem ipsum"""
    ),
    NOTHING_ATTACHED: bars(
        """what is in this picture?|what do you hear?|what happens in this video?|describe this image
        describe this picture|what is in the picture?|what can you see?|what do you see?
        which instrument is this?|what is this sound?|describe the clip|what is on this photo?
        what colour is the background?|what is moving?|describe this sound
        what do you hear in this recording?|caption this image|look at this picture|listen to this
        tell me what you see|what happens in this clip?|describe the video|what is shown here?
        identify this sound|name the instrument"""
    ),
}

# Things the nano world does not have, by the modality that is asked for.
UNKNOWN: Mapping[str, tuple[str, ...]] = {
    "image": bars(
        """elephant|horse|lion|tiger|giraffe|bear|cow|pig|sheep|goat|rabbit|mouse|monkey|snake|spider|crocodile
        kangaroo|helicopter|train|bus|truck|tractor|motorcycle|submarine|ship|tank|skateboard|robot|computer
        phone|television|camera|clock|lamp|chair|table|bed|sofa|door|window|bridge|tower|castle|church
        mountain|river|beach|forest|island|volcano|moon|sun|planet|galaxy|cloud|rainbow|city|street|grape
        cherry|lemon|melon|watermelon|tomato|potato|carrot|onion|bread|cheese|egg|cake|cookie|chocolate
        sandwich|hot dog|sushi|salad|soup|coffee|tea|bottle|cup|knife|fork|spoon|man|woman|child|baby|king
        queen|knight|pirate|ninja|wizard|dragon|unicorn|ghost|vampire|zombie|monster|alien|angel|shoe|shirt
        hat|dress|glasses|umbrella|bag|ring|watch|book|pen|pencil|newspaper|letter|map|flag|drum|saxophone
        harp|piano|microphone|basketball|tennis racket|golf club|sword|hammer|saw|screwdriver|ladder|bucket
        broom|candle|mirror|duck|chicken|eagle|owl|parrot|swan|frog|lizard|shark|dolphin|crab|lobster
        jellyfish|ant|spider web|mosquito|worm|rose|tulip|daisy|leaf|grass|palm|bush|stone|diamond|coin|money
        crystal|bomb|gun|rope|chain|wheel|engine|anchor|tent"""
    ),
    "audio": bars(
        """drum|drums|saxophone|cello|tuba|trombone|banjo|ukulele|harmonica|bagpipes|xylophone|bell|gong|whistle
        oboe|bassoon|french horn|mandolin|sitar|synthesizer|tambourine|triangle|maracas|lute|zither|recorder
        viola|double bass|choir|dog|cat|cow|bird|lion|car|engine|train|siren|alarm|thunder storm|rain|wind
        ocean|waterfall|fire|explosion|crowd|laughing child|baby|clock|phone|door|helicopter|rocket|song
        symphony|beat|rap|melody|voice|singer|speech"""
    ),
    "video": bars(
        """elephant|horse|lion|bear|dog|cat|octopus|snail|tree|sunflower|cactus|mushroom|star|snowman|bicycle
        sailboat|house|key|guitar|trumpet|violin|crown|gift|pizza|hamburger|orange|pear|pineapple|helicopter
        train|bus|truck|ship|robot|man|woman|child|dancer|dragon|ghost|cloud|sun|moon|flag|river|wave
        waterfall|bird|eagle|duck|rabbit|mouse|monkey|snake|spider|frog|shark|dolphin|basketball|wheel|clock
        leaf|book|cup|bottle|chair|lamp|ball of wool|tornado|fire"""
    ),
}
UNKNOWN_BACKGROUNDS = bars(
    "black|grey|gray|brown|golden|silver|turquoise|cyan|magenta|beige|dark|striped|rainbow|transparent"
)

REFUSALS: Mapping[str, str] = {
    "image": "I can only draw simple things such as a penguin, a rocket or a pizza.",
    "audio": "I can only play single notes on instruments such as a piano, a flute or a harp.",
    "video": "I can only make clips of simple things such as a rocket, a fish or a balloon.",
}
NO_BACKGROUND = "I do not have that background, so here is {c}."
DEFAULTED: Mapping[str, str] = {
    "image": "You named no background, so here is {c}.",
    "audio": "You named no register, so this is {c}.",
    "video": "You named no motion, so this is {c}.",
}
CHOSEN: Mapping[str, str] = {
    "image": "You left the choice to me, so here is {c}.",
    "audio": "You left the choice to me, so this is {c}.",
    "video": "You left the choice to me, so this is {c}.",
}
OPEN_REQUESTS: Mapping[str, tuple[str, ...]] = {
    "image": bars(
        """draw something|show me something|surprise me|draw anything|show me a picture|make a picture
        draw an animal|paint something nice|I want a picture|generate an image|create an image
        show me an image|any picture please|draw me a picture|draw whatever you like|make something
        give me a picture|can you draw something?"""
    ),
    "audio": bars(
        """play something|play a note|make a sound|let me hear something|play music|play some music
        play an instrument|play any note|I want to hear something|generate a sound|make some noise
        give me a sound|play a sound|play a tune|play me something|can you play something?|create a sound
        play whatever you like"""
    ),
    "video": bars(
        """make a video|make a clip|show me a video|film something|animate something|I want to watch something
        generate a video|create a video|show me a clip|make a movie|give me a video|make any video
        can you make a video?|create a clip|make an animation|show me an animation|make a short clip"""
    ),
}

# Questions about attached media: {kind} of answer -> wordings. "describe" fits every modality.
QUESTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "image": {
        "describe": bars(
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
        "subject": bars(
            """what object is this?|which object is it?|what thing is in the picture?|name the object
            what is the main object?|what is in the middle?|which thing do you see?
            what is standing in front of the background?|what kind of thing is this?"""
        ),
        "manner": bars(
            """what colour is the background?|which colour is the background?|what color is the background?
            what's the background?|name the background colour|what is the background colour?
            what color is behind it?|which background does it have?|tell me the colour of the background
            what is the color of the background?|and the background?"""
        ),
    },
    "audio": {
        "describe": bars(
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
        "subject": bars(
            """which instrument is this?|what instrument is this?|which instrument do you hear?
            name the instrument|what is the instrument?|what instrument is playing?|who is playing?
            which instrument plays here?|what kind of instrument is it?|tell me the instrument"""
        ),
        "manner": bars(
            """is it high or low?|how high is it?|is the note high or low?|which register is it in?
            what is the register?|how low is it?|is it a high or a low note?|what kind of note is it?
            is this low, middle or high?|tell me the register"""
        ),
    },
    "video": {
        "describe": bars(
            """what happens in this video?|what happens in this video?|what happens here?|describe this video
            describe the clip|what do you see?|what is in this clip?|what is this?|caption this video
            tell me what happens|what is going on?|what is shown in the video?|describe what happens
            what can you see in the video?|generate a caption|what is happening?|please describe this
            what's this?|tell me about this clip|what does the video show?|what happens in the clip?
            watch this|what have I attached?|what is in the video?|summarise this video|explain this clip
            what do you see in the clip?|what is moving, and which way?|which object is it, and what does it do?"""
        ),
        "subject": bars(
            """what is moving?|what object is this?|which object is in the video?|name the object
            what thing do you see?|who is moving?|what is the main object?|which thing is in the clip?
            what kind of thing is this?"""
        ),
        "manner": bars(
            """how does it move?|where does it go?|which way does it move?|what does it do?
            in which direction does it move?|where is it moving?|what is the motion?|describe the motion
            how is it moving?|is it moving?"""
        ),
    },
}
