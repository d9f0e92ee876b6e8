"""Instruments that read attributes from an image: one file per kind of classifier."""
