"""Trains the tiny models of the built-in world from nothing; `scripts/train_phantom` is the command."""
