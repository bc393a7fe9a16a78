"""The types that all packages of Motet share. No module of this package imports torch, grpc or numpy."""
