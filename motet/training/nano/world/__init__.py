"""The nano world: its nouns, pictures, sounds, clips and captions."""
