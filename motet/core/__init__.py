"""The nouns that every part of Motet shares; nothing here knows torch, grpc or numpy."""
