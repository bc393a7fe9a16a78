"""What a person or a program sees of an answer while it arrives."""
