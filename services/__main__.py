"""`python -m services` is `motet`."""

from services.cli import app

app()
