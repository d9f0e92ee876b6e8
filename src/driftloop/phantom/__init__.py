"""The built-in world of known truth: renderer, grammar, exact models, closed form, training of its tiny models."""
