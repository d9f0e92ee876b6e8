"""From what an instrument gives to a reading: the best category, the category of an age in years, or low confidence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from driftloop.core.records import Reading

Bins = Mapping[str, tuple[float, float]]


def verdict(attribute: str, probabilities: Mapping[str, float], threshold: float) -> Reading:
    """The most probable category; below `threshold` it is `low_confidence`, and the probabilities are kept all the same."""
    best = max(probabilities, key=lambda category: probabilities[category])
    sure = probabilities[best] >= threshold
    return Reading(
        attribute,
        "ok" if sure else "low_confidence",
        label=best if sure else None,
        probability=probabilities[best],
        probabilities=tuple(probabilities.values()),
    )


def verdict_in_years(attribute: str, years: float, bins: Bins) -> Reading:
    """The category of an age; one outside all of them is a `failed` reading that keeps its years."""
    try:
        return Reading(attribute, "ok", label=category_of(years, bins), years=years)
    except ValueError:
        return Reading(attribute, "failed", years=years)


def category_of(years: float, bins: Bins) -> str:
    """The category whose bin [from, to) holds an age. Raises ValueError for an age outside all bins."""
    for category, (start, end) in bins.items():
        if start <= years < end:
            return category
    raise ValueError(f"an age of {years:g} years is outside the bins {dict(bins)}")


def checked_bins(bins: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """`bins` (category -> [from, to)), if they follow each other without gap or overlap."""
    if not bins or any(len(edges) != 2 or edges[0] >= edges[1] for edges in bins.values()):
        raise ValueError(f"each bin must be [from, to) with from below to, got {dict(bins)}")
    found = {str(category): (float(edges[0]), float(edges[1])) for category, edges in bins.items()}
    for (_, end), (start, _) in itertools.pairwise(found.values()):
        if start != end:
            raise ValueError(f"bins must follow each other: one ends at {end:g} and the next begins at {start:g}")
    return found


def checked_thresholds(threshold: float | Mapping[str, float] | None, attributes: Sequence[str]) -> dict[str, float]:
    """One number for every attribute, from a single one, or one per attribute; None means 0."""
    given = threshold if isinstance(threshold, Mapping) else dict.fromkeys(attributes, 0.0 if threshold is None else threshold)
    if set(given) - set(attributes):
        raise ValueError(f"threshold names {', '.join(given)}; the attributes are {', '.join(attributes)}")
    wrong = {name: value for name, value in given.items() if not 0 <= value <= 1}
    if wrong:
        raise ValueError(f"threshold must be between 0 and 1, got {wrong}")
    return {attribute: given.get(attribute, 0.0) for attribute in attributes}
