"""One request, from prompt to parts."""
