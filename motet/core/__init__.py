"""The types that all packages of Motet share. No module here imports torch, grpc or numpy."""
