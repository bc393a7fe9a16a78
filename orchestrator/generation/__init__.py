"""One generation, from the admitted request to its numbered events."""
