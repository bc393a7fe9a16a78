"""The services, their processes, and the command line."""
