"""Motet serves and trains NExT-GPT: any mix of text, pictures, sounds and clips in, any mix out."""
