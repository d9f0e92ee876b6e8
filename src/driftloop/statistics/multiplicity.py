"""Adjusted p-values of families of tests, keyed by name. A NaN p-value stays NaN and does not count."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from driftloop.statistics.panel import Floats, Ints

Name = TypeVar("Name", bound=Hashable)
Adjust = Callable[[Floats], Floats]


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm (1979): step-down, holds the chance of any false rejection in the family."""
    return _by_name(p_values, _holm)


def benjamini_hochberg(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Benjamini and Hochberg (1995): step-up, holds the expected share of false rejections (positive dependence)."""
    return _by_name(p_values, _benjamini_hochberg)


def _by_name(p_values: Mapping[Name, float], adjust: Adjust) -> dict[Name, float]:
    names = list(p_values)
    p = np.array([p_values[name] for name in names], dtype=np.float64)
    adjusted = np.full(p.size, np.nan)
    counted = np.isfinite(p)
    adjusted[counted] = adjust(p[counted])
    return dict(zip(names, adjusted.tolist(), strict=True))


def _holm(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    steps = np.arange(p.size, 0, -1) * p[order]
    return _unsorted(np.minimum(np.maximum.accumulate(steps), 1.0), order)


def _benjamini_hochberg(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    steps = p.size / np.arange(1, p.size + 1) * p[order]
    return _unsorted(np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0), order)


def _unsorted(values: Floats, order: Ints) -> Floats:
    back = np.empty_like(values)
    back[order] = values
    return back
