"""`python -m services` is `motet`."""

from services.cli.app import app

app()
