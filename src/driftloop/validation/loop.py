"""The loop itself: worlds of a planted omission, played as bare draws, through text, and whole with images and files.

Bare draws take four times the repetitions, text a twentieth, and the whole run a hundredth: stated in every row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from driftloop.core.batches import batches
from driftloop.core.rng import derive, generator
from driftloop.phantom.world import CATEGORIES
from driftloop.statistics.panel import Bools, Floats
from driftloop.validation.checks import coverage, joint_p_values
from driftloop.validation.loops import Played, bare, images, seeds_of, text
from driftloop.validation.outcome import Case, Outcome, covers, rejects
from driftloop.validation.setting import ATTRIBUTES, DROPPED, MISREAD, PLAIN, Setting, compositions

SEEDS, REPLICATES, ROUNDS = 96, 6, 5
JOINED = 6
"""Repetitions of one replicate whose seeds make one joint test together."""
OFF = 0.1
ROOT = 20260122
BARE, TEXTS, RUNS = 4, 20, 100
MANY = 1000
"""Repetitions from which the worst round and category is held to the demand; below, chance alone makes one bad."""
Play = Callable[[Setting, int], Played]


def cases(repetitions: int) -> Iterator[Case]:
    for setting, replicates in product((PLAIN, MISREAD), (1, REPLICATES)):
        how = f"bare draws; {setting.name}; {replicates} replicates"
        yield _case(how, setting, partial(drawn, replicates=replicates), BARE * repetitions)
    for setting in (PLAIN, MISREAD, DROPPED):
        yield _case(f"through text; {setting.name}; 1 replicates", setting, through_text, max(1, repetitions // TEXTS))
    for setting in (MISREAD, DROPPED):
        how = f"play, measure, analyse with images; {setting.name}; 1 replicates"
        yield _case(how, setting, whole_run, max(1, repetitions // RUNS))


def _case(how: str, setting: Setting, play: Play, repetitions: int) -> Case:
    return Case(name=f"{SEEDS} seeds; {how}", check=partial(outcomes, setting, play, repetitions))


def drawn(setting: Setting, repetition: int, replicates: int) -> Played:
    return bare(setting, SEEDS, replicates, ROUNDS, generator(derive(ROOT, setting.name, "bare", replicates, repetition)))


def through_text(setting: Setting, repetition: int) -> Played:
    root_seed = derive(ROOT, setting.name, "text", repetition)
    [played] = text([setting], seeds_of(SEEDS, root_seed), 1, ROUNDS, root_seed)
    return played


def whole_run(setting: Setting, repetition: int) -> Played:
    """Also refuses a run whose table of shares is not that of its readings."""
    with tempfile.TemporaryDirectory() as folder:
        root_seed = derive(ROOT, setting.name, "images", repetition)
        played, drift = images(setting, SEEDS, 1, ROUNDS, root_seed, Path(folder))
    check_table(setting, played, drift)
    return played


def check_table(setting: Setting, played: Played, drift: pd.DataFrame) -> None:
    """The widths of all share and shift intervals in analysis/drift.parquet are those found here from the readings."""
    for attribute in ATTRIBUTES:
        ours = coverage(setting, [played], attribute)
        for place, concept in enumerate(compositions()):
            rows = drift[(drift["attribute"] == attribute) & (drift["concept"] == concept)]
            rows = rows.assign(order=rows["category"].map(CATEGORIES[attribute].index)).sort_values(["round", "order"])
            for what, width in (("share", ours.share_width), ("shift", ours.shift_width)):
                theirs = (rows[f"{what}_high"] - rows[f"{what}_low"]).to_numpy()
                np.testing.assert_allclose(theirs, width[0, place].ravel(), atol=1e-9)


def joined(played: Sequence[Played], size: int) -> Iterator[Played]:
    """Repetitions taken together as one of more seeds; an incomplete last one is left out."""
    for some in batches(played, size):
        if len(some) == size:
            parts = (np.concatenate([getattr(one, name) for one in some]) for name in ("readings", "starts"))
            yield Played(*parts)


def outcomes(setting: Setting, play: Play, repetitions: int) -> Iterator[Outcome]:
    played = [play(setting, number) for number in range(repetitions)]
    for attribute in ATTRIBUTES:
        yield from _intervals(setting, played, attribute)
        yield from _joint(setting, played, attribute)


def _intervals(setting: Setting, played: Sequence[Played], attribute: str) -> Iterator[Outcome]:
    """Shares of all rounds, shifts of the later ones; all seeds, then each concept (16 seeds: no demand)."""
    found = coverage(setting, played, attribute)
    for what, held, width in (("share", found.share, found.share_width), ("shift", found.shift, found.shift_width)):
        first = int(what == "shift")
        everyone, wide = held[:, 0, first:], width[:, 0, first:]
        rates = everyone.reshape(len(played), -1).mean(axis=0)
        worst = everyone.reshape(len(played), -1)[:, int(rates.argmin())]
        yield _mean(f"{attribute} {what}, mean of rounds and categories", SEEDS, everyone, wide)
        yield covers(f"{attribute} {what}, worst of them", SEEDS, worst, wide, demanded=len(played) >= MANY)
        few = SEEDS // (len(compositions()) - 1)
        yield _mean(f"{attribute} {what} of a concept", few, held[:, 1:, first:], width[:, 1:, first:])


def _mean(quantity: str, n_seeds: int, held: Bools, width: Floats) -> Outcome:
    """Over all rounds and categories; as many repetitions as there were, for they are not independent."""
    whole = covers(quantity, n_seeds, held.ravel(), width)
    return Outcome(
        quantity=quantity,
        kind="covers",
        n_seeds=n_seeds,
        repetitions=len(held),
        rate=whole.rate,
        demand=whole.demand,
        width=whole.width,
    )


def _joint(setting: Setting, played: Sequence[Played], attribute: str) -> Iterator[Outcome]:
    """The joint test over rounds of the planted omission, and of those a tenth off; singles are taken together."""
    alone = played[0].readings.shape[1] == 1
    tested = list(joined(played, JOINED)) if alone else played
    seeds = SEEDS * (JOINED if alone else 1)
    for omission in (setting.omission, setting.omission - OFF, setting.omission + OFF) if tested else ():
        rejected = joint_p_values(setting, tested, attribute, omission) <= 0.05
        name = f"{attribute}, joint test of omission {omission:.1f}"
        yield rejects(name, seeds, rejected, null=omission == setting.omission)
