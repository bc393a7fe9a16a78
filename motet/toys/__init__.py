"""Workers without weights, and the manifest of the bundle they make up."""
