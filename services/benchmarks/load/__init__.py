"""Load: requests, clients that record traces or count outcomes, and the goodput of a load."""
