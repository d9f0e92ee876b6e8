"""Which seeds anybody may see; of all others reports and exports keep pictures and captions to themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

OPEN_SETS = frozenset({"phantom", "prompts"})
OPEN_TARGETS = ("driftloop.datasets.phantom.", "driftloop.datasets.prompts.", "driftloop.phantom.")


def open_seeds(manifest: Mapping[str, Any], seeds: pd.DataFrame) -> bool:
    """Both the seeds and the identity say that nothing here is licensed; in doubt it is."""
    target = str(manifest["identity"].get("dataset", {}).get("_target_", ""))
    named = set(seeds["dataset"]) if "dataset" in seeds else set()
    return target.startswith(OPEN_TARGETS) and bool(named) and named <= OPEN_SETS
