"""The nano bundle's training: a small world, dialogues about it, and a recipe for each part."""
