"""Encoders of pictures and captions: one file per kind."""
