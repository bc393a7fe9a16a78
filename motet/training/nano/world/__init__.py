"""The world the nano bundle knows: its nouns, pictures, sounds and clips, and its caption encoder."""
