"""Table `mention`: how often captions name perceived gender or age, and whether what they name is what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from driftloop.analysis.by_seed import BY_SEED, BY_SEED_COLUMNS, seed_rows
from driftloop.analysis.captions import AGREES, Told, told
from driftloop.analysis.material import Material
from driftloop.analysis.study import WHOSE, Study, View, stacked
from driftloop.statistics.intervals import share_limits
from driftloop.statistics.moments import moments
from driftloop.statistics.panel import Bools, Floats, Ints

MENTION_COLUMNS = [
    *WHOSE, "classifier", "round", "baseline_round", "n_captions", "n_seeds", "named", "named_low", "named_high",
    "contradictory", "contradictory_low", "contradictory_high", "n_compared", "n_seeds_compared", "agrees", "agrees_low",
    "agrees_high",
]  # fmt: skip


class MentionMetric:
    """Per round, of the captions of that round's pictures (the seed's own at round 0).

    `named` is the share of captions that name one category (`core.mentions`), `contradictory` of those that name two, both
    over the seeds with a caption (`n_seeds`). `agrees` is the share of naming captions whose category is the one read from
    the same picture, each seed with such a caption (`n_seeds_compared`) counting alike; a disagreement may be the
    captioner's or the classifier's. An attribute without known words, or whose categories say no gender or age, has no rows.
    Runs are compared in all three.
    """

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        level, study = material.settings.level, material.study
        read = [(instrument.folder, each) for instrument in material.instruments for each in told(material, instrument)]
        found = [mention_rows(View(study, each.panel, group), each, level) for _, each in read for group in study.groups]
        by_seed = [rows for folder, each in read for rows in _by_seed(study, folder, each)]
        return {"mention": stacked(found, MENTION_COLUMNS), BY_SEED: stacked(by_seed, BY_SEED_COLUMNS)}


def _by_seed(study: Study, folder: str, captions: Told) -> Iterator[pd.DataFrame]:
    for quantity, (event, among) in _events(captions).items():
        values = _seed_shares(event, among)
        yield seed_rows(study, values, quantity=quantity, scale=1, instrument=folder, attribute=captions.panel.attribute)


def _events(captions: Told) -> dict[str, tuple[Bools, Bools]]:
    """What is counted, among what, each [n_seeds, n_replicates, n_rounds]."""
    return {
        "named": (captions.names, captions.captioned),
        "contradictory": (captions.doubled, captions.captioned),
        "agrees": (captions.parts == AGREES, _compared(captions)),
    }


def _compared(captions: Told) -> Bools:
    return np.asarray(captions.names & (captions.labels >= 0))


def mention_rows(view: View, captions: Told, level: float) -> pd.DataFrame:
    """One row a round."""
    members = view.group.members
    columns = {
        "n_captions": captions.captioned[members].sum(axis=(0, 1)),
        "n_compared": _compared(captions)[members].sum(axis=(0, 1)),
    }
    for name, (event, among) in _events(captions).items():
        n = "n_seeds_compared" if name == "agrees" else "n_seeds"
        columns |= _share(view, n, name, _seed_shares(event, among), level)
    return view.rows({"round": view.study.rounds}, columns)


def _seed_shares(event: Bools, among: Bools) -> Floats:
    """The share of `event` `among` the captions of each seed and round [n_seeds, n_rounds], NaN where there are none."""
    total = among.sum(axis=1).astype(np.float64)
    total[total == 0] = np.nan
    return np.asarray((event & among).sum(axis=1) / total)


def _share(view: View, n: str, name: str, shares: Floats, level: float) -> dict[str, Floats | Ints]:
    """The mean of seeds' shares, with its limits."""
    share = moments(shares[view.group.members], view.group)
    low, high = share_limits(share, level)
    return {n: share.n, name: share.mean, f"{name}_low": low, f"{name}_high": high}
