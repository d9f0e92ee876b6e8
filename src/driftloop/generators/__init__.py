"""Text to image: one file per kind of generator."""
