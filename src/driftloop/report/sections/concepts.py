"""Drift by concept: small multiples, where more than one concept can be told, and concepts themselves as they are read."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from driftloop.report import cells, figures, panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Block, Figure, Folded, Heading, Section, Table, Text
from driftloop.report.sections import answer, drift

MOST_CONCEPTS = 24


def section(material: Material) -> Section:
    perceived = material.perceived
    known = tables.told(tables.raw(perceived.drift))
    drawn: list[Block] = list(concept_figures(perceived, known))
    missing = [words.readable(name, 40) for name in tables.small_concepts(tables.raw(perceived.drift))]
    suppressed = words.suppression(missing, tables.LEAST)
    found = [
        *(drawn or [Text("There are not two concepts with enough seeds to compare.")]),
        *([Text(suppressed, "note")] if suppressed else []),
        *(Folded(table) for table in concept_tables(perceived, known)),
        *depicted(material.part("concepts")),
    ]
    return Section("concepts", "By concept", "Drift by concept", found)


def depicted(material: Material) -> Iterator[Block]:
    """What the pictures show, read in every round by instruments of their own."""
    found = answer.answers(material)
    if found:
        yield Heading("Concepts themselves, as read in every round")
    for each in found:
        yield Text(each.text)
        yield from (Text(note, "note") for note in each.notes)
    yield from drift.curves(material)
    for block in drift.printed(material):
        yield Folded(block) if isinstance(block, Table) else block


def concept_figures(material: Material, known: pd.DataFrame) -> Iterator[Figure]:
    known = known[~known["concept"].isin(_beyond(known))]
    for attribute in material.attributes:
        for classifier in material.readers(attribute):
            mine = known[(known["attribute"] == attribute) & (known["classifier"] == classifier)]
            if len(tables.told_concepts(mine)) > 1:
                yield concept_figure(material, mine, attribute, classifier)


def concept_figure(material: Material, mine: pd.DataFrame, attribute: str, classifier: str) -> Figure:
    shown, colour = panels.shown_categories(material, attribute), panels.colours(material, attribute)
    n = words.n_range(mine.loc[~mine["concept"].isin([tables.ALL, tables.ALIKE]) & mine["share"].notna(), "n_seeds"])
    by = panels.by(material, attribute, classifier)
    name, kind = f"concepts-{attribute}-{classifier}", material.concept_kind
    if len(shown) == 1:
        frame = tables.concept_curves(material, mine, classifier, attribute, shown[0])
        planted = bool((frame["role"] == "planted").any())
        caption = words.concept_caption(words.subject(attribute, shown[0]) + by, kind, n, material.level, planted=planted)
        make = panels.curves(frame, colour, panels.SHARES_TO_ONE)
        return Figure(name, caption, panels.layouts_of(frame["panel"].nunique()), make)
    frame = tables.concept_stacks(mine, classifier, attribute, shown)
    caption = words.stack_caption(f"Perceived {attribute}{by}", kind, n)
    layouts = panels.layouts_of(frame["panel"].nunique())
    return Figure(name, caption, layouts, lambda layout: figures.stacks(frame, colour, layout))


def _beyond(drift: pd.DataFrame) -> list[str]:
    """Concepts beyond the MOST_CONCEPTS with most seeds: they are in the tables, not in the figure."""
    sizes = drift[~drift["concept"].isin([tables.ALL, tables.ALIKE])].groupby("concept")["n_seeds"].max()
    return list(sizes.sort_values(ascending=False).index[MOST_CONCEPTS:])


def concept_tables(material: Material, known: pd.DataFrame) -> Iterator[Table]:
    """One per attribute, small cells left out; of two categories only the one that is told."""
    last = tables.ends(known)
    last = last[~last["concept"].isin([tables.ALL, tables.ALIKE]) & last["share"].notna() & last["first"].notna()]
    for attribute in material.attributes:
        rows = last[(last["attribute"] == attribute) & last["category"].isin(panels.shown_categories(material, attribute))]
        rows = rows.sort_values("concept", kind="stable")
        if len(set(rows["concept"])) > 1:
            start, end = int(rows["baseline_round"].iloc[0]), int(rows["round"].iloc[0])
            caption = f"Perceived {attribute} by {material.concept_kind}, from round {start} to round {end}."
            yield Table(words.readable(caption), [drift.drift_row(material, row) for row in cells.records(rows)])
