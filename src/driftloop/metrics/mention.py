"""Table `mention`: how often captions name perceived gender or age, and whether what they name is what was read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from driftloop.analysis.captions import AGREES, Told, told
from driftloop.analysis.material import Material
from driftloop.analysis.study import WHOSE, View, stacked
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
    """

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        level = material.settings.level
        found = [
            mention_rows(View(material.study, each.panel, group), each, level)
            for instrument in material.instruments
            for each in told(material, instrument)
            for group in material.study.groups
        ]
        return {"mention": stacked(found, MENTION_COLUMNS)}


def mention_rows(view: View, captions: Told, level: float) -> pd.DataFrame:
    """One row a round."""
    compared = captions.names & (captions.labels >= 0)
    members = view.group.members
    columns = {
        "n_captions": captions.captioned[members].sum(axis=(0, 1)),
        **_share(view, "n_seeds", "named", captions.names, captions.captioned, level),
        **_share(view, "n_seeds", "contradictory", captions.doubled, captions.captioned, level),
        "n_compared": compared[members].sum(axis=(0, 1)),
        **_share(view, "n_seeds_compared", "agrees", captions.parts == AGREES, compared, level),
    }
    return view.rows({"round": view.study.rounds}, columns)


def _share(view: View, n: str, name: str, event: Bools, among: Bools, level: float) -> dict[str, Floats | Ints]:
    """The share of `event` `among` the captions of a seed [n_seeds, n_replicates, n_rounds], over seeds, with its limits."""
    total = among.sum(axis=1).astype(np.float64)
    total[total == 0] = np.nan
    share = moments(((event & among).sum(axis=1) / total)[view.group.members], view.group)
    low, high = share_limits(share, level)
    return {n: share.n, name: share.mean, f"{name}_low": low, f"{name}_high": high}
