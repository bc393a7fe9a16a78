"""The timeline of a generation: `motet explain`, its table, and its picture."""
