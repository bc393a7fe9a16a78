"""Bounds of what one caller can hold of a server: connections, open calls, and slow readers and senders."""
