"""The benchmark `start`: the time until a command writes its first word."""
