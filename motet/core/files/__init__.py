"""Readers of files from strangers, which cannot hang the process or exhaust its memory."""
