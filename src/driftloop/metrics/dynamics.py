"""Tables `dynamics` and `transitions`: the composition a loop pulls to, the half-life of its start, and its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import WHOSE, Panel, Settings, Study, View, make_panels, placed, stacked
from driftloop.statistics.dynamics import (
    SHOWN,
    Chains,
    Estimate,
    dynamics,
    fit,
    transition_limits,
    travelled,
)
from driftloop.statistics.panel import Floats, Group, Ints

DYNAMICS_COLUMNS = [
    *WHOSE, "category", "classifier", "concept_read_by", "round", "baseline_round", "n_seeds", "status", "attractor",
    "attractor_low", "attractor_high", "half_life", "half_life_low", "half_life_high", "half_life_slowest", "p_order", "p_late",
    "p_homogeneous",
]  # fmt: skip
TRANSITION_COLUMNS = [
    *WHOSE, "category", "to", "classifier", "round", "baseline_round", "n_seeds", "value", "low", "high",
]  # fmt: skip
KEPT = ""


class DynamicsMetric:
    """A first-order chain on the readings from the baseline to the last round (`statistics.dynamics`).

    `attractor` is the share a category is pulled to, `half_life` the rounds in which half of the start is forgotten;
    `status` says whether they may be shown, and where it is not "shown" they are empty. `p_order` tests first order,
    `p_late` the prediction of the later rounds from the first half of the steps, `p_homogeneous` that steps are alike in all
    rounds. `n_seeds` have a step that was read at both ends. `half_life_slowest` is that of the part that fades last; it
    has no interval and comes out too long where few seeds have many categories.

    With `concept_read_by` empty, every concept is taken as kept and has a chain of its own; `all` is their mean, weighted by
    seeds or alike. Where a concept classifier read the concept too, further rows come from one chain on (concept, attribute)
    that both were read as: `concept` is then the one that was read, and concepts may leak into each other. `transitions`
    holds the matrices of kept concepts: the share of steps from `category` that lead `to`.
    """

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]:
        read = [each for instrument in material.instruments for each in _read(material, instrument)]
        settings, groups = material.settings, material.study.groups
        kept = [_rows(one.view(group), *one.chains(group), settings) for one in read for group in groups]
        leaking = [
            rows for one in read for other in read if _is_concept(other, one) for rows in _joint_rows(one, other, settings)
        ]
        steps = [_steps(one.view(group), one.chains(group)[0], settings) for one in read for group in groups[2:]]
        return {"dynamics": stacked(kept + leaking, DYNAMICS_COLUMNS), "transitions": stacked(steps, TRANSITION_COLUMNS)}


@dataclass(frozen=True, slots=True)
class Read:
    """One panel with its labels [n_seeds, n_replicates, n_rounds] as positions in its categories, -1 where there is none;
    rounds that nobody played are there too, unread. `kind` is that of its instrument."""

    study: Study
    panel: Panel
    labels: Ints
    kind: str

    def view(self, group: Group) -> View:
        return View(self.study, self.panel, group)

    def chains(self, group: Group) -> tuple[Chains, Floats]:
        """Chains of a group whose concepts are kept, and the part of each state in each category."""
        size = len(self.panel.categories)
        blocks = self.study.concepts[group.members]
        return Chains(states=self.labels[group.members], blocks=blocks, units=group.units, features=np.eye(size)), np.eye(size)


def _read(material: Material, instrument: Instrument) -> Iterator[Read]:
    study, readings = material.study, material.readings_of(instrument)
    for panel in make_panels(readings, study, {instrument.name: instrument.categories}):
        mine = readings[(readings["attribute"] == panel.attribute) & (readings["status"] == "ok")]
        yield Read(study, panel, _labels(mine, study, panel), instrument.kind)


def _labels(readings: pd.DataFrame, study: Study, panel: Panel) -> Ints:
    first, last = int(study.rounds[0]), int(study.rounds[-1])
    axes = (study.seed_ids, study.replicates, pd.RangeIndex(first, last + 1))
    return placed(readings, pd.Index(panel.categories).get_indexer(pd.Index(readings["label"].astype(object))), axes)


def _is_concept(other: Read, one: Read) -> bool:
    """Whether `other` reads the concept of the run, and `one` something else."""
    return other.kind == "concepts" and other.panel.attribute == other.study.concept_kind != one.panel.attribute


def _joint_rows(one: Read, other: Read, settings: Settings) -> Iterator[pd.DataFrame]:
    """All, then each concept that is read: shares given the concept, on one chain of (concept, attribute) as read."""
    study, concepts, size = one.study, list(other.panel.categories), len(one.panel.categories)
    everyone, reader = study.groups[0], other.panel.classifier
    both = (one.labels >= 0) & (other.labels >= 0)
    shows: Floats = np.kron(np.ones((len(concepts), 1)), np.eye(size)).astype(np.float64)
    chains = Chains(
        states=np.where(both, other.labels * size + one.labels, -1),
        blocks=np.zeros_like(everyone.units),
        units=everyone.units,
        features=np.hstack([shows, np.kron(np.eye(len(concepts)), np.ones((size, 1)))]),
    )
    yield _rows(one.view(everyone), chains, shows, settings, reader)
    for group in study.groups[2:]:
        if group.name in concepts:
            given = np.where(np.repeat(np.array(concepts) == group.name, size)[:, None], shows, 0.0)
            yield _rows(one.view(everyone), chains, given, settings, reader).assign(concept=group.name)


def _rows(view: View, chains: Chains, part: Floats, settings: Settings, reader: str = KEPT) -> pd.DataFrame:
    """One row a category; estimates are empty unless they may be shown."""
    alike = view.group.n_strata > 1
    found = dynamics(chains, part, alike=alike, level=settings.level, min_seeds=settings.min_seeds)
    shape, shown = (part.shape[1],), 1.0 if found.status == SHOWN else np.nan
    columns = {
        "n_seeds": np.full(shape, found.n_seeds),
        "status": np.full(shape, found.status),
        **_named("attractor", found.attractor, shape, shown),
        **_named("half_life", found.half_life, shape, shown),
        "half_life_slowest": np.full(shape, found.slowest * shown),
        "p_order": np.full(shape, found.p_order),
        "p_late": np.full(shape, found.p_late),
        "p_homogeneous": np.full(shape, found.p_homogeneous),
    }
    rows = view.rows({"round": view.study.rounds[-1:], "category": view.panel.categories}, columns)
    return rows.assign(concept_read_by=reader)


def _named(name: str, found: Estimate, shape: tuple[int, ...], shown: float) -> dict[str, Floats]:
    """Columns of a value and its limits; `shown` is 1 or NaN."""
    values = (np.broadcast_to(values * shown, shape) for values in found)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _steps(view: View, chains: Chains, settings: Settings) -> pd.DataFrame:
    """The matrix of one concept, a row a cell; none where no step was read."""
    chains = travelled(chains)
    if not len(chains.states):
        return pd.DataFrame()
    found = transition_limits(chains, fit(chains), settings.level)
    columns = {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n_seeds": np.full(found.value.shape, len(chains.states)),
    }
    rows = view.rows({"category": view.panel.categories, "to": view.panel.categories}, columns)
    return rows.assign(round=view.study.rounds[-1])
