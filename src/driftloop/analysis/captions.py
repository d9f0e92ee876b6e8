"""Captions held against the readings of the pictures they describe, dense like the readings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import Panel, Study, make_panels, placed
from driftloop.core.mentions import mention, readable
from driftloop.core.words import TABLES
from driftloop.statistics.panel import Bools, Ints

PARTS = ("silent", "agrees", "contradicts", "unclear")
"""What a caption is to the reading of the picture it describes; `unclear` names two categories or was not written down."""

SILENT, AGREES, CONTRADICTS, UNCLEAR = range(len(PARTS))


@dataclass(frozen=True, slots=True)
class Told:
    """Of one panel, every array [n_seeds, n_replicates, n_rounds].

    `labels` are positions in the panel's categories, -1 where there is no ok reading; `captioned` marks captions there are,
    `names` those that name one category and `doubled` those that name two. `parts` is the relation of each caption to the
    reading beside it (a position in `PARTS`), without meaning where the label is -1.
    """

    panel: Panel
    labels: Ints
    captioned: Bools
    names: Bools
    doubled: Bools
    parts: Ints


def told(material: Material, instrument: Instrument) -> Iterator[Told]:
    """One for each attribute whose words are known and whose categories they can be held against."""
    study, readings = material.study, material.readings_of(instrument)
    for panel in make_panels(readings, study, {instrument.name: instrument.categories}):
        if panel.attribute in TABLES and readable(panel.attribute, panel.categories):
            mine = (readings["classifier"] == panel.classifier) & (readings["attribute"] == panel.attribute)
            yield _told(material.rows, readings[mine & (readings["status"] == "ok")], study, panel)


def _told(rows: pd.DataFrame, readings: pd.DataFrame, study: Study, panel: Panel) -> Told:
    known = {category: number for number, category in enumerate(panel.categories)}
    axes = (study.seed_ids, study.replicates, study.rounds)
    labels = placed(readings, np.asarray(readings["label"].map(known), np.intp), axes)
    written = rows["caption"].fillna("").astype(str)
    texts, unique = pd.factorize(written)
    number = placed(rows, np.asarray(texts, np.intp), axes)
    says = [mention(text, panel.attribute, panel.categories) for text in unique]
    there = (number >= 0) & np.array([*(text.strip() != "" for text in unique), False])[number]
    names = np.array([*(said.kind == "names" for said in says), False])[number] & there
    doubled = np.array([*(said.kind == "contradictory" for said in says), False])[number] & there
    fits = np.array([[category in said.categories for category in panel.categories] for said in says])
    agrees = names & (labels >= 0) & fits[number, labels]
    parts = np.select([~there | doubled, ~names, agrees], [UNCLEAR, SILENT, AGREES], CONTRADICTS)
    return Told(panel, labels, there, names, doubled, parts)
