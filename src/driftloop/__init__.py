"""driftloop: plays image→caption→image loops between generative models and measures how perceived attributes drift.

For a plug-in of your own: `Picture`, `Caption`, `Reading`, `Box`, `Seed`. For a notebook: `load_runs`, and `compare`
for two of them. Before a study: `seeds_needed` and `power`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftloop.core.records import Box, Caption, Context, Picture, Reading, Seed

if TYPE_CHECKING:
    from driftloop.runs import Run, Runs, compare, load_runs
    from driftloop.stages.compare import compare_all
    from driftloop.statistics.power import power, seeds_needed

__version__ = "0.1.0"
__all__ = [
    "Box", "Caption", "Context", "Picture", "Reading", "Run", "Runs", "Seed", "__version__", "compare", "compare_all",
    "load_runs", "power", "seeds_needed",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Tables need pandas and power scipy; they are imported when somebody asks for them, not by `driftloop --help`."""
    if name in ("Run", "Runs", "compare", "load_runs"):
        from driftloop import runs

        return getattr(runs, name)
    if name == "compare_all":
        from driftloop.stages import compare

        return compare.compare_all
    if name in ("power", "seeds_needed"):
        from driftloop.statistics import power

        return getattr(power, name)
    raise AttributeError(f"module 'driftloop' has no attribute {name!r}")
