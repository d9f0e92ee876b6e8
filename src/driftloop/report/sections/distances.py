"""Distance of each round from the baseline, beside what swapping rounds at random gives."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from driftloop.report import figures, panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Figure, Section, Text

DISTANCES = {
    "total_variation": "total variation",
    "jensen_shannon": "Jensen–Shannon",
    "hellinger": "Hellinger",
    "wasserstein_groups": "Wasserstein",
}


def section(material: Material) -> Section:
    found: list[Block] = list(distances(material.perceived)) or [Text("There is no distance to draw.")]
    return Section("distances", "Distances", "Distance from the baseline", found)


def distances(material: Material) -> Iterator[Figure]:
    for attribute in material.attributes:
        for classifier in material.readers(attribute):
            frame = tables.distance_rows(material, classifier, attribute, DISTANCES)
            if frame["value"].notna().any():
                yield distance(material, frame, attribute, classifier)


def distance(material: Material, frame: pd.DataFrame, attribute: str, classifier: str) -> Figure:
    rows = tables.of(material.distances, attribute, classifier)
    ordered = bool((rows["distance"] == "wasserstein_groups").any())
    what = f"perceived {attribute}{panels.by(material, attribute, classifier)}"
    caption = words.distance_caption(what, words.n_range(rows["n_pairs"]), material.level, ordered=ordered)
    axis = figures.Axis("distance", lambda value: f"{value:.2f}", shared=False)
    layouts = panels.layouts_of(frame["panel"].nunique())
    return Figure(f"distances-{attribute}-{classifier}", caption, layouts, panels.curves(frame, {}, axis))
