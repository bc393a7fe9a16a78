"""The output of an answer as its events arrive, for people and for programs."""
