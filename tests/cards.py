"""The cards that ship beside the built-in models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import driftloop.phantom

MODELS = Path(driftloop.phantom.__file__).parent / "models"


def card(name: str) -> dict[str, Any]:
    """What a model's card says."""
    found: dict[str, Any] = json.loads((MODELS / name / "card.json").read_text())
    return found
