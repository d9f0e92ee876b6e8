"""Foundations: the nouns, random numbers, the run folder, what a config means."""
