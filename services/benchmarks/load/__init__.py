"""Load: clients, conversations and arrivals, and what counts as a good answer."""
