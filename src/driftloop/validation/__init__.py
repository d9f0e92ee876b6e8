"""Plays the built-in world of known truth many times over and counts how often the intervals and tests are right."""
