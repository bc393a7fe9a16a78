"""Workers without weights, and their manifest."""
