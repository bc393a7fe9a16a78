"""`python -m services` runs `motet`."""

from services.cli.app import app

app()
