"""The training recipes of the nano bundle: one command per part."""
