"""Takes some seeds of a data set: always the same ones, never the first files of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from driftloop.core.records import Seed
from driftloop.core.rng import derive


def take(seeds: Iterable[Seed], limit: int | None, limit_per_concept: int | None) -> list[Seed]:
    """The seeds among the first `limit` of all and among the first `limit_per_concept` of their concept, in hash order.

    The order hashes seed_id alone, so raising either limit only adds seeds. None is no limit. With both limits a seed
    must be within both: filling up to `limit` from other concepts would drop seeds when `limit_per_concept` is raised.
    """
    by_id = {seed.seed_id: seed for seed in seeds}
    names = within(by_id, (seed.concept for seed in by_id.values()), limit, limit_per_concept)
    return [by_id[name] for name in names]


def within(seed_ids: Iterable[str], concepts: Iterable[str], limit: int | None, limit_per_concept: int | None) -> list[str]:
    """The seed_ids that `take` would take."""
    _check("limit", limit)
    _check("limit_per_concept", limit_per_concept)
    taken, of_concept = [], Counter[str]()
    for seed_id, concept in sorted(zip(seed_ids, concepts, strict=True), key=_place)[:limit]:
        of_concept[concept] += 1
        if limit_per_concept is None or of_concept[concept] <= limit_per_concept:
            taken.append(seed_id)
    return taken


def _place(pair: tuple[str, str]) -> tuple[int, str]:
    return derive(0, "limit", pair[0]), pair[0]


def _check(name: str, limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"{name} must be at least 1, or null for no limit; got {limit}")
