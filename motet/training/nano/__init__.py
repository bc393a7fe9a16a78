"""The nano bundle: a small world, its dialogues, and the recipes that train every part of it."""
