"""Tells a caption from a prompt that came back."""

from __future__ import annotations

import math
import re


def is_echo(text: str, prompt: str | None) -> bool:
    """Whether a caption consists of the prompt, once or again and again, and nothing else (case and marks aside)."""
    said, asked = _words(text), _words(prompt or "")
    if not asked or len(said) < len(asked):
        return False
    return said == (asked * math.ceil(len(said) / len(asked)))[: len(said)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
