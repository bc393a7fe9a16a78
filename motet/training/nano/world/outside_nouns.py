"""Nouns outside the nano world. Only the clip denoiser trains on them: they show that anything can make any motion."""

from __future__ import annotations

_TABLE = """tomato grapes melon watermelon lemon peach kiwifruit coconut mango carrot corn eggplant avocado cucumber
potato broccoli garlic onion hotdog taco burrito bread croissant egg pretzel waffle sandwich doughnut cookie
candy lollipop cake pie cupcake tulip rose hibiscus rabbit elephant koala camel cow tiger horse monkey pig
hamster wolf bear bat gorilla kangaroo llama raccoon badger sloth otter skunk beaver frog crocodile snake
lizard crab shrimp squid lobster ant spider beetle rooster chicken duck owl parrot flamingo swan umbrella
bell teapot chair hammer wrench axe scissors shirt ring gem camera tv radio hourglass anchor bus truck
tractor helicopter trophy kite bucket broom ladder microscope telescope candle basket magnet shield compass
clipboard"""

OUTSIDE_NOUNS = tuple(_TABLE.split())
"""Each is also the short name of its picture in the emoji-datasource packages. None looks like a noun of clips."""
