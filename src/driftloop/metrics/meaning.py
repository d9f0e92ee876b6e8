"""Tables `semantic` and `semantic_decay`: how much of the meaning of the seed, and of the step before, is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.by_seed import BY_SEED, BY_SEED_COLUMNS, seed_rows
from driftloop.analysis.embeddings import Embedded, embedded
from driftloop.analysis.material import Encoding, Material
from driftloop.analysis.study import Settings, Study, stacked
from driftloop.core.rng import derive
from driftloop.statistics.decay import Rate, drift_rate, mean_cumulative_drift, mean_step
from driftloop.statistics.panel import Floats, Group, Ints
from driftloop.statistics.similarity import (
    MISSED,
    Similarity,
    floor_similarity,
    likeness,
    mean_over,
    mean_similarity,
    of_strangers,
    of_twins,
)

WHAT = ["run", "concept_kind", "concept", "encoder", "comparison", "reference"]
SEMANTIC_COLUMNS = [
    *WHAT, "round", "generation", "n_seeds", "value", "low", "high", "floor", "floor_low", "floor_high", "floor_in_concept",
    "floor_in_concept_low", "floor_in_concept_high", "ceiling", "ceiling_low", "ceiling_high", "n_seeds_ceiling",
    "captions_cut",
]  # fmt: skip
DECAY_COLUMNS = [*WHAT, "quantity", "n_seeds", "n_generations", "value", "low", "high", "status"]
STEP = {"image": 0, "text": 1}  # the place of a round's picture, and of its caption, in the game: 2 × round + this


@dataclass(frozen=True, slots=True)
class Compared:
    """Something of an earlier step of every chain set against something of a later one, at each of several rounds [m].

    `alike`, `others`, `others_in_concept` [n_seeds, m]: mean cosine with the reference of the seed itself, of the other
    seeds, of those of its concept. `twins` [n_seeds, 1]: between replicates. `cut` [n_seeds, m] is the share of chains in
    which a caption that takes part was cut.
    """

    comparison: str
    reference: str
    rounds: Ints
    generations: Ints
    alike: Floats
    others: Floats
    others_in_concept: Floats
    twins: Floats
    cut: Floats


class Meaning:
    """Mean cosine of embeddings, for every encoder of the run.

    `comparison` names the earlier side, then the later: `image_image`, `text_text`, `image_text` (what pictures show and
    captions say) and `text_image`. `reference` is the first of the earlier side in the chain (`seed`; of a text-seeded chain
    the prompt, and the first picture) or the last of it before the later one (`previous`): so `previous` of `image_text` is a
    caption and its own picture, which the captioner answers for, of `text_image` a picture and the caption it was drawn
    from. `generation` is how many steps lie between the two. A mean is over the seeds with both, replicates averaged first.

    `floor`: with other seeds, over all pairs of which a seed of the group is one, or over those within a concept. `ceiling`:
    between two replicates of a seed in the first generated round, which differ in their random numbers alone; NaN with one
    replicate. It is what chance leaves of a step, not a bound: where captions omit, twins part twice and a value may lie
    above it. `semantic_decay` sums up the rows of reference `seed` (`statistics.decay`).
    """

    def __init__(self, *, encoders: Sequence[str]) -> None:
        if not encoders:
            raise ValueError("meaning is what encoders tell: say which, for example encoder=[phantom_clip]")

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        compared = [(one, each) for one in material.encodings for each in comparisons(embedded(material, one), material)]
        rounds = [_rows(material, one, each) for one, each in compared]
        from_seed = [(one, each) for one, each in compared if each.reference == "seed"]
        return {
            "semantic": stacked(rounds, SEMANTIC_COLUMNS),
            "semantic_decay": stacked([_decay(material, *one) for one in from_seed], DECAY_COLUMNS),
            BY_SEED: stacked([_by_seed(material.study, *one) for one in from_seed], BY_SEED_COLUMNS),
        }


def comparisons(found: Embedded, material: Material) -> Iterator[Compared]:
    """Every comparison that has a pair of rounds."""
    codes = material.study.concepts
    for earlier, later, reference in product(found.sides, found.sides, ("seed", "previous")):
        first = material.baseline_round if earlier == "image" else 0
        pairs = [(_reference(earlier, later, round_, first, reference), round_) for round_ in range(found.rounds)]
        pairs = [(before, round_) for before, round_ in pairs if before >= first and _steps(earlier, before, later, round_) > 0]
        if pairs:
            yield _compared(found, earlier, later, reference, pairs, codes)


def _reference(earlier: str, later: str, round_: int, first: int, reference: str) -> int:
    """The round of the reference; the last picture before a caption is its own."""
    return first if reference == "seed" else round_ - int(STEP[earlier] >= STEP[later])


def _steps(earlier: str, before: int, later: str, round_: int) -> int:
    return 2 * (round_ - before) + STEP[later] - STEP[earlier]


def _compared(found: Embedded, earlier: str, later: str, reference: str, pairs: list[tuple[int, int]], codes: Ints) -> Compared:
    one, other = found.sides[earlier], found.sides[later]
    columns = [_column(one.at(before), other.at(round_), codes) for before, round_ in pairs]
    alike, others, in_concept = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    cuts = [_cut(found, (earlier, before), (later, round_)) for before, round_ in pairs]
    drawn = min(1, found.rounds - 1)
    return Compared(
        comparison=f"{earlier}_{later}",
        reference=reference,
        rounds=np.array([round_ for _, round_ in pairs]),
        generations=np.array([_steps(earlier, before, later, round_) for before, round_ in pairs]),
        alike=alike,
        others=others,
        others_in_concept=in_concept,
        twins=of_twins(one.at(drawn), other.at(drawn))[:, None] * (1.0 if drawn else np.nan),
        cut=np.stack(cuts, axis=1),
    )


def _column(earlier: Floats, later: Floats, codes: Ints) -> tuple[Floats, Floats, Floats]:
    """Of one pair of rounds [n_seeds, n_replicates, d]: a seed with itself, with all others, with those of its concept."""
    one, other = mean_over(earlier), mean_over(later)
    alone = np.zeros_like(codes)
    return likeness(earlier, later), of_strangers(one, other, alone), of_strangers(one, other, codes)


def _cut(found: Embedded, *places: tuple[str, int]) -> Floats:
    """Of each seed, the share of its chains in which a caption at one of the places was cut; NaN where there is none."""
    cuts = [found.sides["text"].cut_at(round_) for name, round_ in places if name == "text"]
    if not cuts:
        side = found.sides["image"].place
        return np.full(side.shape[0], np.nan)
    return mean_over(np.maximum.reduce(cuts))


def _rows(material: Material, encoding: Encoding, what: Compared) -> pd.DataFrame:
    tables = [
        pd.DataFrame(
            _about(material.study, encoding, what) | {"concept": group.name} | _columns(what, group, material.settings)
        )
        for group in material.study.groups
    ]
    return pd.concat(tables, ignore_index=True)


def _about(study: Study, encoding: Encoding, what: Compared) -> dict[str, Any]:
    names = {"encoder": encoding.name, "comparison": what.comparison, "reference": what.reference}
    return {"run": study.run, "concept_kind": study.concept_kind} | names


def _columns(what: Compared, group: Group, settings: Settings) -> dict[str, Any]:
    """Of one group, one value a round; the ceiling is that of every round."""
    level, members = settings.level, group.members
    mean = mean_similarity(what.alike[members], group, level)
    ceiling = mean_similarity(what.twins[members], group, level)
    return {
        "round": what.rounds,
        "generation": what.generations,
        "n_seeds": mean.n,
        "value": mean.mean,
        "low": mean.low,
        "high": mean.high,
        **_limited("floor", floor_similarity(what.others[members], group, level)),
        **_limited("floor_in_concept", floor_similarity(what.others_in_concept[members], group, level)),
        **{name: column.item() for name, column in _limited("ceiling", ceiling).items()},
        "n_seeds_ceiling": ceiling.n.item(),
        "captions_cut": mean_over(what.cut[members].T),
    }


def _limited(name: str, found: Similarity) -> dict[str, Floats]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def _by_seed(study: Study, encoding: Encoding, what: Compared) -> pd.DataFrame:
    """Only what the same encoder with the same settings saw is compared: the quantity has their hash."""
    quantity = f"{what.comparison} by {encoding.folder.rpartition('/')[2]}"
    rounds = study.rounds.get_indexer(pd.Index(what.rounds))
    return seed_rows(study, what.alike, quantity=quantity, scale=MISSED, rounds=rounds.tolist())


def _decay(material: Material, encoding: Encoding, what: Compared) -> pd.DataFrame:
    about = _about(material.study, encoding, what) | {"n_generations": len(what.generations)}
    rows = [row for group in material.study.groups for row in _quantities(material.settings, encoding, what, group)]
    return pd.DataFrame([about | row for row in rows])


def _quantities(settings: Settings, encoding: Encoding, what: Compared, group: Group) -> Iterator[dict[str, Any]]:
    values, generations = what.alike[group.members], what.generations.astype(np.float64)
    mean = mean_cumulative_drift(values, group, settings.level)
    n = int(mean.n[0])
    about = {"concept": group.name, "n_seeds": n}
    yield about | {"quantity": "mean_cumulative_drift"} | _one(mean)
    if len(generations) < 2 or n < 2:
        return
    yield about | {"quantity": "mean_step"} | _one(mean_step(values, generations, group, settings.level))
    seed = derive(settings.root_seed, "meaning", encoding.name, what.comparison, group.name)
    rate = drift_rate(values, generations, group, resamples=settings.resamples, seed=seed, level=settings.level)
    yield about | {"quantity": "semantic_drift_rate"} | _rate(rate)


def _one(found: Similarity) -> dict[str, Any]:
    return {"value": found.mean[0], "low": found.low[0], "high": found.high[0], "status": "ok"}


def _rate(found: Rate) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "status": found.status}
