"""Takes some seeds of a data set: always the same ones, never the first files of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING

from driftloop.core.records import Seed
from driftloop.core.rng import derive

if TYPE_CHECKING:
    import pandas as pd

_but_place = attrgetter(*(field.name for field in fields(Seed) if field.name not in ("place", "recorded")))


def placed(seeds: Iterable[Seed]) -> list[Seed]:
    """All seeds of a data set in hash order, each knowing its place in it."""
    ordered = sorted(seeds, key=lambda seed: _order(seed.seed_id))
    # Not replace(), which takes five times as long.
    return [Seed(*(*_but_place(seed), place, seed.recorded)) for place, seed in enumerate(ordered)]


def take(seeds: Iterable[Seed], limit: int | None, limit_per_concept: int | None) -> list[Seed]:
    """The seeds among the first `limit` of all and among the first `limit_per_concept` of their concept, in hash order.

    The order hashes seed_id alone, so raising either limit only adds seeds. None is no limit. With both limits a seed
    must be within both: filling up to `limit` from other concepts would drop seeds when `limit_per_concept` is raised.
    "Of all" means of the whole data set: seeds that know their place (`placed`) can be some of it, such as what a run
    with other limits took in, as long as everything that these limits take is among them.
    """
    by_id = {seed.seed_id: seed for seed in seeds}
    found = by_id.values()
    names = within(by_id, (seed.concept for seed in found), limit, limit_per_concept, [seed.place for seed in found])
    return [by_id[name] for name in names]


def taken(seeds: pd.DataFrame, limit: int | None, limit_per_concept: int | None) -> list[str]:
    """The seed_ids that `take` would take of seeds.parquet, in hash order."""
    return within(seeds["seed_id"], seeds.get("concept", seeds["seed_id"]), limit, limit_per_concept, seeds.get("place"))


def within(
    seed_ids: Iterable[str],
    concepts: Iterable[str],
    limit: int | None,
    limit_per_concept: int | None,
    places: Iterable[int | None] | None = None,
) -> list[str]:
    """The seed_ids that `take` would take; without `places` these are all seeds of their data set."""
    _check("limit", limit)
    _check("limit_per_concept", limit_per_concept)
    ids = list(seed_ids)
    known = [None] * len(ids) if places is None else list(places)
    rows = list(zip(ids, concepts, known, strict=True))
    rows.sort(key=_place_of if None not in known else lambda row: _order(row[0]))  # a place is one in hash order
    taken, of_concept = [], Counter[str]()
    for number, (seed_id, concept, place) in enumerate(rows):
        if limit is not None and (number if place is None else place) >= limit:
            continue
        of_concept[concept] += 1
        if limit_per_concept is None or of_concept[concept] <= limit_per_concept:
            taken.append(seed_id)
    return taken


def _place_of(row: tuple[str, str, int | None]) -> int:
    return row[2] or 0


def _order(seed_id: str) -> tuple[int, str]:
    return derive(0, "limit", seed_id), seed_id


def _check(name: str, limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"{name} must be at least 1, or null for no limit; got {limit}")
