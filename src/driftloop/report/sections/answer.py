"""How far did it drift? One sentence with the effect and its interval per attribute and instrument."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import Any

import pandas as pd

from driftloop.report import panels, tables, words
from driftloop.report.material import Material
from driftloop.report.parts import Answer, Answers, Block, Figure, Section, Text


def section(material: Material) -> Section:
    perceived = material.perceived
    return Section("answer", "Answer", "How far did it drift?", list(blocks(perceived)))


def blocks(material: Material) -> Iterator[Block]:
    found = answers(material)
    if not found:
        yield Text("Nothing was read in this run, so there is no answer yet.")
        return
    yield Answers(found)
    yield Text(how_to_read(material.level), "note")
    yield from figure(material)


def how_to_read(level: float) -> str:
    """What an interval, a point and a p-value are: said here once."""
    held = f"{100 * level:g}"
    return (
        f"How to read this. A {words.level_text(level)} interval is the range of values that fit what was seen: about {held} "
        "of 100 studies like this one would have an interval that holds the true value. An interval that leaves out 0 speaks "
        "of a shift beyond chance; one that holds 0 does not show that nothing moved. Points are percentage points: from 50 % "
        "to 53 % is +3.0. p is how often chance alone gives at least as much. All of this is about the number of seeds, not "
        "about how well the instrument reads."
    )


def answers(material: Material) -> list[Answer]:
    """One per attribute and classifier, then one per attribute that several classifiers read."""
    found: list[Answer] = []
    for attribute in material.attributes:
        moved: dict[bool, list[str]] = {True: [], False: []}
        for classifier in material.readers(attribute):
            _, rows = tables.headline(material, attribute, classifier)
            found.append(answer(material, attribute, classifier, rows))
            moved[is_moved(material, attribute, classifier, rows)].append(words.readable(classifier, 60))
        if len(material.readers(attribute)) > 1:
            found.append(Answer(words.agreement(attribute, moved[True], moved[False]), [], "instruments compared"))
    return found


def answer(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> Answer:
    tag = f"perceived {attribute}" + (f", read by {classifier}" if len(material.readers(attribute)) > 1 else "")
    tag = words.readable(tag)
    if rows.empty:
        return Answer(words.nothing(attribute), [], tag)
    change = tables.change(tables.told_row(material, attribute, rows))
    told = audited if change.audited else raw
    text, notes = told(material, attribute, classifier, rows)
    notes = [*notes, planted_note(material, tables.told_row(material, attribute, rows)), own_judge(material, classifier)]
    return Answer(words.readable(text, 1000), [words.readable(note, 1000) for note in notes if note], tag)


def raw(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> tuple[str, list[str]]:
    """Sentence and notes of what the instrument read at both ends."""
    change = tables.change(tables.told_row(material, attribute, rows))
    tested = tables.tested(material.tests, attribute, classifier)
    line = words.test_line(tested, material.level) if tested else ""
    if len(material.categories(attribute)) == 2:
        return words.two_answer(change, material.level), [line, words.footing(change)]
    apart = tables.apart(material.distances, attribute, classifier)
    told = tested is not None and tested.p_value < 1 - material.level
    largest = "" if told or isnan(change.shift) or change.shift == 0 else words.largest(change, material.level)
    distance = words.distance(change, apart, material.level) if apart else ""
    return words.many_answer(change, tested, material.level), [largest, distance, line, words.footing(change)]


def audited(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> tuple[str, list[str]]:
    """Sentence and notes of what people's labels say, and what the instrument alone says beside it."""
    row = tables.told_row(material, attribute, rows)
    two = len(material.categories(attribute)) == 2
    told = words.two_answer if two else words.audited_answer
    beside = tables.ends(tables.raw(tables.of(material.drift, attribute, classifier)))
    beside = beside[beside["category"] == row["category"]]
    why = words.why_audited(attribute, tables.change(beside.iloc[0]), material.level)
    untested = "" if two else (
        "Labels of people are not tested over all groups at once, and of several groups the one that moved most looks larger "
        "than it is."
    )  # fmt: skip
    return told(tables.change(row), material.level), [why, untested]


def is_moved(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> bool:
    """Whether an instrument supports a shift, by the rule that its sentence goes by."""
    if rows.empty:
        return False
    change, tested = (
        tables.change(tables.told_row(material, attribute, rows)),
        tables.tested(material.tests, attribute, classifier),
    )
    if change.audited or len(material.categories(attribute)) == 2:
        return change.low > 0 or change.high < 0
    return tested is not None and tested.p_value < 1 - material.level


def own_judge(material: Material, classifier: str) -> str:
    judges = any(each.judges_itself for each in material.instruments if each.name == classifier)
    return "This classifier is of the captioner's family: the captioner judges itself here." if judges else ""


def planted_note(material: Material, row: pd.Series[Any]) -> str:
    attribute, category, round_ = str(row["attribute"]), str(row["category"]), int(row["round"])
    truth = tables.planted_of(material.planted, material.seeds, tables.ALL, attribute, category)
    at_end = truth[truth["round"] == round_]
    if at_end.empty:
        return ""
    low, high = float(row["share_low"]), float(row["share_high"])
    return words.planted_line(
        words.lowered(words.subject(attribute, category)), round_, float(at_end["share"].iloc[0]), low, high
    )


def figure(material: Material) -> Iterator[Figure]:
    rows = tables.shift_rows(material)
    if len(rows):
        last = tables.ends(tables.raw(material.drift))
        n = words.n_range(last.loc[last["concept"] == tables.ALL, "n_pairs"])
        audited = rows["group"].str.endswith(", audited").any()
        caption = words.forest_caption(n, material.level, audited=bool(audited))
        yield Figure("shifts", caption, panels.ROWS, panels.forest(rows))
