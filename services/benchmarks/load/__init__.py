"""Load: requests, clients that record traces, and the goodput of a load."""
