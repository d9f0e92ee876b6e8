"""Table `decomposition`: how much of a shift passed through captions that were silent, agreed or contradicted.

An identity on the readings, no model: the parts of a row's shift add up to it. What passed through silent captions is what
the generator filled in; through agreeing ones, what it did not follow; through contradicting ones, what a misreporting
captioner or a misreading instrument did. Silent captions still leak cues.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from driftloop.analysis.by_seed import BY_SEED, BY_SEED_COLUMNS, seed_rows
from driftloop.analysis.captions import CONTRADICTS, PARTS, Told, told
from driftloop.analysis.material import Material
from driftloop.analysis.study import WHOSE, Study, View, stacked
from driftloop.statistics.decomposition import Step, contributions, steps

DECOMPOSITION_COLUMNS = [
    *WHOSE, "category", "classifier", "round", "baseline_round", "span", "part", "n_seeds", "n_chains", "coverage", "share",
    "value", "low", "high", "shift", "note",
]  # fmt: skip
NOT_IDENTIFIED = "misreport by the captioner or an instrument error: not identified without an audit"


class DecompositionMetric:
    """Per round, the last step (`span` step) and all steps since the baseline (`span` cumulative), part by part.

    `part` is the relation of the caption of the round before to the reading of the picture it describes; `unclear` are
    captions that name two categories or that nobody wrote down. `value` is the part's contribution to `shift`, the sum of
    the parts; `share` is the share of captions in the part (value / share is the mean change behind such a caption).

    A step counts the chains read at both of its rounds, `cumulative` those read at every round since the baseline: a chain
    with a round unread is left out, and `coverage` is the share of expected chains that counts. Chains are averaged within
    seeds, then seeds. Where every chain is read, the cumulative shift is that of the table `drift`; else it is the same
    change over fewer chains. Runs are compared in the cumulative parts: `through_silent` and so on.

    Where a mitigation or a control arm draws from other words than the caption on record (`fixed_prompt`,
    `autoencoder_roundtrip`), the parts still add up but say nothing of what moved the pictures.
    """

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        found: list[pd.DataFrame] = []
        by_seed: list[pd.DataFrame] = []
        for instrument in material.instruments:
            for each in told(material, instrument):
                views = [View(material.study, each.panel, group) for group in material.study.groups]
                for step in steps(each.labels, each.parts, len(each.panel.categories), len(PARTS)):
                    found += [step_rows(view, step, material.settings.level) for view in views]
                    by_seed += _by_seed(material.study, each, step, instrument.folder)
        return {"decomposition": stacked(found, DECOMPOSITION_COLUMNS), BY_SEED: stacked(by_seed, BY_SEED_COLUMNS)}


def _by_seed(study: Study, captions: Told, step: Step, folder: str) -> Iterator[pd.DataFrame]:
    """Every part of the shift since the baseline. One seed more might differ between two runs by a whole reading."""
    if step.cumulative:
        for part, name in enumerate(PARTS):
            yield seed_rows(
                study,
                step.values[:, part],  # noqa: PD011 (no DataFrame)
                quantity=f"through_{name}",
                scale=1,
                rounds=[step.round],
                instrument=folder,
                attribute=captions.panel.attribute,
                categories=captions.panel.categories,
            )


def step_rows(view: View, step: Step, level: float) -> pd.DataFrame:
    """One row a part and category."""
    found, members = contributions(step, view.group, level), view.group.members
    expected = view.study.expected[members, :, step.round].sum()
    n_chains = step.counted[members].sum()
    shape = found.value.shape
    moved = (np.arange(len(PARTS)) == CONTRADICTS)[:, None] & (found.value != 0) & np.isfinite(found.value)
    columns = {
        "n_seeds": np.full(shape, found.n_seeds),
        "n_chains": np.full(shape, n_chains),
        "coverage": np.full(shape, n_chains / expected if expected else np.nan),
        "share": np.broadcast_to(found.share[:, None], shape),
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "shift": np.broadcast_to(found.shift, shape),
        "note": np.where(moved, NOT_IDENTIFIED, ""),
    }
    rows = view.rows({"part": PARTS, "category": view.panel.categories}, columns)
    return rows.assign(round=view.study.rounds[step.round], span="cumulative" if step.cumulative else "step")
