"""Subjects and backgrounds outside the nano world, and the sentences that refuse them."""

from __future__ import annotations

from collections.abc import Mapping

from motet.training.nano.dialogues.phrases import split_phrases

# Subjects outside the nano world, by the requested modality.
UNKNOWN_SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "image": split_phrases(
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
    "audio": split_phrases(
        """drum|drums|saxophone|cello|tuba|trombone|banjo|ukulele|harmonica|bagpipes|xylophone|bell|gong|whistle
        oboe|bassoon|french horn|mandolin|sitar|synthesizer|tambourine|triangle|maracas|lute|zither|recorder
        viola|double bass|choir|dog|cat|cow|bird|lion|car|engine|train|siren|alarm|thunder storm|rain|wind
        ocean|waterfall|fire|explosion|crowd|laughing child|baby|clock|phone|door|helicopter|rocket|song
        symphony|beat|rap|melody|voice|singer|speech"""
    ),
    "video": split_phrases(
        """elephant|horse|lion|bear|dog|cat|octopus|snail|tree|sunflower|cactus|mushroom|star|snowman|bicycle
        sailboat|house|key|guitar|trumpet|violin|crown|gift|pizza|hamburger|orange|pear|pineapple|helicopter
        train|bus|truck|ship|robot|man|woman|child|dancer|dragon|ghost|cloud|sun|moon|flag|river|wave
        waterfall|bird|eagle|duck|rabbit|mouse|monkey|snake|spider|frog|shark|dolphin|basketball|wheel|clock
        leaf|book|cup|bottle|chair|lamp|ball of wool|tornado|fire"""
    ),
}
UNKNOWN_BACKGROUNDS = split_phrases(
    "black|grey|gray|brown|golden|silver|turquoise|cyan|magenta|beige|dark|striped|rainbow|transparent"
)

REFUSALS: Mapping[str, str] = {
    "image": "I can only draw simple things such as a penguin, a rocket or a pizza.",
    "audio": "I can only play single notes on instruments such as a piano, a flute or a harp.",
    "video": "I can only make clips of simple things such as a rocket, a fish or a balloon.",
}
NO_BACKGROUND = "I do not have that background, so here is {c}."
