"""Puts a page together: plain values for the template, and the figures it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import isnan
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from driftloop.report import figures, tables, words
from driftloop.report.material import Instrument, Material
from driftloop.report.strips import strips
from driftloop.report.words import Tested

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Make = Callable[[figures.Layout], Figure]

ORDERED = frozenset({"age"})
MOST_CONCEPTS = 24
DISTANCES = {
    "total_variation": "total variation",
    "jensen_shannon": "Jensen–Shannon",
    "hellinger": "Hellinger",
    "wasserstein_groups": "Wasserstein",
}
TEXT = frozenset({"concept", "attribute", "category", "classifier", "distance", "status", "example", "family", "start",
                  "outcome", "extent", "commit", "device", "looks"})  # fmt: skip
Values = dict[str, Any]
SHARES_TO_ONE = figures.Axis("share of readings", figures.percent_tick, 1.0)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One figure, as the page and the folder of figures want it. `width` is the natural width in CSS pixels."""

    name: str
    caption: str
    wide: Markup
    narrow: Markup
    width: int
    file: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by heading; headings outside TEXT hold numbers."""

    caption: str
    rows: Sequence[Mapping[str, str]]

    @property
    def head(self) -> list[tuple[str, bool]]:
        return [(name, name not in TEXT) for name in self.rows[0]]


@dataclass(frozen=True, slots=True)
class Folded:
    """A table behind its caption, and a note below; `open_` shows it at once."""

    table: Table
    open_: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    notes: Sequence[str]
    tag: str


def page(material: Material) -> tuple[str, list[Drawn]]:
    """The page, and the figures in it. Concepts as they are read stand apart from perceived attributes."""
    perceived, concepts = material.part("labels"), material.part("concepts")
    known = tables.told(perceived.drift)
    drawn = {
        "answer": list(answer_figures(perceived)),
        "drift": list(drift_figures(perceived)),
        "concepts": list(concept_figures(perceived, known)),
        "read_concepts": list(drift_figures(concepts)),
        "distances": list(distance_figures(perceived)),
    }
    values = {
        **header(perceived),
        "figures": drawn,
        "answers": answers(perceived),
        "drift_tables": drift_tables(perceived),
        "concept_tables": concept_tables(perceived, known),
        "read_concepts": answers(concepts),
        "read_concept_tables": drift_tables(concepts)[:1],
        "closed_form": closed_form(material),
        "published": published(material),
        "published_intro": words.PUBLISHED,
        "published_ways": published_ways(material),
        "published_way_tables": way_tables(material),
        "suppressed": words.suppression(_plain(tables.small_concepts(perceived.drift)), tables.LEAST),
        "counts": counts(material),
        "strips": strips(perceived),
        "shown": material.shown,
        "open_seeds": material.open_seeds,
        "card": card(material),
        "invocations": invocations(material),
        "limits": words.limits(cartoon="phantom" in _datasets(material), licensed=not material.open_seeds),
    }
    return render(values), [each for some in drawn.values() for each in some]


def render(values: Mapping[str, Any]) -> str:
    """Every value is escaped but figures, which are made here."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=unbroken)
    text = (files("driftloop.report") / "template.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text).render(values) + "\n"


def unbroken(value: Any) -> Any:
    """No line ends between a number and its per cent sign, or within n = 3."""
    return (
        re.sub(r"(?<=\d) (?=%)|(?<=\b[np]) (?=[=<] )|(?<=\b[np] [=<]) ", "\u00a0", value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


# What was run --------------------------------------------------------------------------------------------------------


def header(material: Material) -> Values:
    names, rounds = material.manifest["names"], material.rounds
    n_seeds, n_chains = rounds["seed_id"].nunique(), rounds["chain"].nunique()
    last = int(rounds["round"].max()) if len(rounds) else 0
    read = material.attributes
    attributes = words.joined([f"perceived {name}" for name in read])
    return {
        "title": words.readable(f"Drift of {attributes or 'perceived attributes'}: {names['dataset']}", 120),
        "run_id": material.store.run_id,
        "experiment": material.experiment.name,
        "facts": [
            ("data set", f"{names['dataset']}: {words.counted(n_seeds, 'seed')}"),
            ("chains", f"{n_chains:,} (× {words.counted(rounds['replicate'].nunique(), 'replicate')})"),
            ("rounds", str(last)),
            ("generator", names["generator"]),
            ("captioner", names["captioner"]),
            ("mitigation", names["mitigation"]),
            ("read by", words.joined(material.classifiers) or "nothing yet"),
        ],
    }


def _datasets(material: Material) -> set[str]:
    return set(material.seeds["dataset"]) if "dataset" in material.seeds else set()


# The answer ----------------------------------------------------------------------------------------------------------


def answers(material: Material) -> list[Answer]:
    """One per attribute and classifier, then one per attribute that several classifiers read."""
    last = tables.ends(tables.raw(material.drift))
    last = last[last["concept"] == tables.ALL]
    found: list[Answer] = []
    for attribute in material.attributes:
        moved: dict[bool, list[str]] = {True: [], False: []}
        for classifier in material.readers(attribute):
            rows = last[(last["attribute"] == attribute) & (last["classifier"] == classifier)]
            found.append(answer(material, attribute, classifier, rows))
            moved[is_moved(material, attribute, classifier, rows)].append(classifier)
        if len(material.readers(attribute)) > 1:
            found.append(Answer(words.agreement(attribute, moved[True], moved[False]), [], "instruments compared"))
    return found


def answer(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> Answer:
    tag = f"perceived {attribute}" + (f", read by {classifier}" if len(material.readers(attribute)) > 1 else "")
    if rows.empty:
        return Answer(words.nothing(attribute), [], tag)
    row = told_row(material, attribute, rows)
    change, tested = tables.change(row), tables.tested(material.tests, attribute, classifier)
    line = words.test_line(tested, material.level) if tested else ""
    if len(material.categories(attribute)) == 2:
        text, notes = words.two_answer(change, material.level), [line]
    else:
        text, notes = words.many_answer(change, tested, material.level), many_notes(material, row, tested)
    notes = [*notes, words.footing(change), planted_note(material, row), own_judge(material, classifier)]
    return Answer(words.readable(text, 1000), [words.readable(note) for note in notes if note], tag)


def many_notes(material: Material, row: pd.Series[Any], tested: Tested | None) -> list[str]:
    """What belongs to the answer over several categories: the one that moved most, if not told yet, and the distance."""
    change = tables.change(row)
    apart = tables.apart(material.distances, change.attribute, str(row["classifier"]))
    told = tested is not None and tested.p_value < 1 - material.level
    largest = "" if told or isnan(change.shift) or change.shift == 0 else words.largest(change, material.level)
    line = words.test_line(tested, material.level) if tested else ""
    return [largest, words.distance(change, apart, material.level) if apart else "", line]


def told_row(material: Material, attribute: str, rows: pd.DataFrame) -> pd.Series[Any]:
    """Of two categories the one that is told; of several the one that moved most."""
    categories = material.categories(attribute)
    mine = rows[rows["category"] == words.told_of_two(categories)] if len(categories) == 2 else rows
    return tables.largest(mine if len(mine) else rows)


def is_moved(material: Material, attribute: str, classifier: str, rows: pd.DataFrame) -> bool:
    """Whether an instrument supports a shift, by the rule that its sentence goes by."""
    if rows.empty:
        return False
    change, tested = tables.change(told_row(material, attribute, rows)), tables.tested(material.tests, attribute, classifier)
    if len(material.categories(attribute)) == 2:
        return change.low > 0 or change.high < 0
    return tested is not None and tested.p_value < 1 - material.level


def own_judge(material: Material, classifier: str) -> str:
    judges = any(each.judges_itself for each in material.instruments if each.name == classifier)
    return "This classifier is of the captioner's family: the captioner judges itself here." if judges else ""


def closed_form(material: Material) -> str:
    """The joint test of a run in the built-in world against its closed form; empty where there was none."""
    rows = material.closed_form.drop_duplicates(["attribute", "hypothesis"])
    right = rows[rows["hypothesis"] == "card"].set_index("attribute")
    if right.empty:
        return ""
    whole = "all" if "all" in right.index else str(right.index[0])
    false = rows[(rows["attribute"] == whole) & (rows["hypothesis"] != "card")].set_index("hypothesis")
    parts, powers = _named(right["p_value"].drop(whole)), _named(false["power"])
    joint = right.loc[[whole]].iloc[0]
    told = words.closed_form(float(joint["p_value"]), parts, powers, int(joint["n_seeds"]), material.level)
    return words.readable(told, 1000)


def _named(values: pd.Series[Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def planted_note(material: Material, row: pd.Series[Any]) -> str:
    attribute, category, round_ = str(row["attribute"]), str(row["category"]), int(row["round"])
    truth = tables.planted_of(material.planted, material.seeds, tables.ALL, attribute, category)
    at_end = truth[truth["round"] == round_]
    if at_end.empty:
        return ""
    subject = words.subject(attribute, category).replace("Perceived", "perceived", 1)
    low, high = float(row["share_low"]), float(row["share_high"])
    return words.planted_line(subject, round_, float(at_end["share"].iloc[0]), low, high)


def answer_figures(material: Material) -> Iterator[Drawn]:
    rows = tables.shift_rows(material)
    if len(rows):
        layouts = figures.Layout(7.2, 0, 1), figures.Layout(3.7, 0, 1)
        n = words.n_range(tables.ends(tables.raw(material.drift)).query("concept == 'all'")["n_pairs"])
        yield draw("shifts", words.forest_caption(n, material.level), layouts, lambda layout: figures.forest(rows, layout))


# Figures -------------------------------------------------------------------------------------------------------------


def draw(name: str, caption: str, layouts: tuple[figures.Layout, figures.Layout], make: Make) -> Drawn:
    """Draws wide and narrow; the wide one is also what goes into files."""
    wide, narrow = layouts
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    with figures.style(name):
        paper = make(wide)
        file, picture = figures.svg(paper), figures.png(paper)
        small = figures.svg(make(narrow))
    inline = Markup(figures.inline(file, name)), Markup(figures.inline(small, f"{name}-narrow"))  # noqa: S704 (made here)
    return Drawn(name, words.readable(caption, 1000), *inline, round(wide.width * 96), file, picture)


def shown_categories(material: Material, attribute: str) -> list[str]:
    """Of two categories one is enough; of more, all."""
    categories = material.categories(attribute)
    return [words.told_of_two(categories)] if len(categories) == 2 else categories


def colours(material: Material, attribute: str) -> dict[str, str]:
    shown = shown_categories(material, attribute)
    return figures.colours_of(shown, ordered=attribute in ORDERED and len(shown) > 1)


def layouts_of(n: int) -> tuple[figures.Layout, figures.Layout]:
    """For n panels side by side."""
    if n == 1:
        return figures.Layout(6.4, 2.4, 1), figures.Layout(3.7, 1.8, 1)
    columns = n if n < 6 else next((k for k in (5, 4, 3) if n % k == 0), 4)
    return figures.Layout(9, {2: 2.2, 3: 1.7}.get(columns, 1.4), columns), figures.Layout(3.7, 1.15, 2)


def drift_figures(material: Material) -> Iterator[Drawn]:
    for attribute in material.attributes:
        frame = tables.attribute_curves(material, attribute, shown_categories(material, attribute))
        if frame["value"].notna().any():
            rows = material.drift[(material.drift["attribute"] == attribute) & (material.drift["concept"] == tables.ALL)]
            subject = words.subjects(attribute, shown_categories(material, attribute))
            planted = bool((frame["role"] == "planted").any())
            caption = words.curve_caption(subject, words.n_range(rows["n_seeds"]), material.level, planted=planted)
            axis = SHARES_TO_ONE if len(material.categories(attribute)) == 2 else figures.SHARES
            layouts = layouts_of(frame["panel"].nunique())
            yield draw(f"drift-{attribute}", caption, layouts, _curves(frame, colours(material, attribute), axis))


def _curves(frame: pd.DataFrame, colour: Mapping[str, str], axis: figures.Axis) -> Make:
    return lambda layout: figures.curves(frame, colour, axis, layout)


def concept_figures(material: Material, known: pd.DataFrame) -> Iterator[Drawn]:
    """Small multiples, where there is more than one concept that can be told."""
    drift = tables.raw(known)
    drift = drift[~drift["concept"].isin(_beyond(drift))]
    for attribute in material.attributes:
        for classifier in material.readers(attribute):
            mine = drift[(drift["attribute"] == attribute) & (drift["classifier"] == classifier)]
            if len(tables.told_concepts(mine)) > 1:
                yield concept_figure(material, mine, attribute, classifier)


def concept_figure(material: Material, drift: pd.DataFrame, attribute: str, classifier: str) -> Drawn:
    shown, colour = shown_categories(material, attribute), colours(material, attribute)
    n = words.n_range(drift.loc[~drift["concept"].isin([tables.ALL, tables.ALIKE]) & drift["share"].notna(), "n_seeds"])
    by = f" as {classifier} reads it" if len(material.readers(attribute)) > 1 else ""
    name, kind = f"concepts-{attribute}-{classifier}", material.concept_kind
    if len(shown) == 1:
        frame = tables.concept_curves(material, drift, classifier, attribute, shown[0])
        planted = bool((frame["role"] == "planted").any())
        caption = words.concept_caption(words.subject(attribute, shown[0]) + by, kind, n, material.level, planted=planted)
        return draw(name, caption, layouts_of(frame["panel"].nunique()), _curves(frame, colour, SHARES_TO_ONE))
    frame = tables.concept_stacks(drift, classifier, attribute, shown)
    caption = words.stack_caption(f"Perceived {attribute}{by}", kind, n)
    return draw(name, caption, layouts_of(frame["panel"].nunique()), lambda layout: figures.stacks(frame, colour, layout))


def _beyond(drift: pd.DataFrame) -> list[str]:
    """Concepts beyond the MOST_CONCEPTS with most seeds: they are in the tables, not in the figure."""
    sizes = drift[~drift["concept"].isin([tables.ALL, tables.ALIKE])].groupby("concept")["n_seeds"].max()
    return list(sizes.sort_values(ascending=False).index[MOST_CONCEPTS:])


def distance_figures(material: Material) -> Iterator[Drawn]:
    for attribute in material.attributes:
        for classifier in material.readers(attribute):
            frame = tables.distance_rows(material, classifier, attribute, DISTANCES)
            if frame["value"].notna().any():
                yield distance_figure(material, frame, attribute, classifier)


def distance_figure(material: Material, frame: pd.DataFrame, attribute: str, classifier: str) -> Drawn:
    by = f" as {classifier} reads it" if len(material.readers(attribute)) > 1 else ""
    rows = material.distances[material.distances["concept"] == tables.ALL]
    rows = rows[(rows["attribute"] == attribute) & (rows["classifier"] == classifier)]
    ordered = bool((rows["distance"] == "wasserstein_groups").any())
    n = words.n_range(rows["n_pairs"])
    caption = words.distance_caption(f"perceived {attribute}{by}", n, material.level, ordered=ordered)
    axis = figures.Axis("distance", lambda value: f"{value:.2f}", shared=False)
    layouts = layouts_of(frame["panel"].nunique())
    return draw(f"distances-{attribute}-{classifier}", caption, layouts, _curves(frame, {}, axis))


# Tables --------------------------------------------------------------------------------------------------------------


def drift_tables(material: Material) -> list[Table]:
    """All seeds at the last round; the same with concepts weighted alike; every round."""
    drift = tables.raw(material.drift)
    whole, alike = drift[drift["concept"] == tables.ALL], drift[drift["concept"] == tables.ALIKE]
    last = tables.ends(whole)
    if last.empty:
        return []
    ends = f"From round {int(last['baseline_round'].iloc[0])} to round {int(last['round'].iloc[0])}"
    found = [
        Table(f"{ends}, over all seeds.", [drift_row(material, row) for row in _records(last)]),
        Table(f"{ends}, {words.name_of(tables.ALIKE)}.", [drift_row(material, row) for row in _records(tables.ends(alike))]),
        Table("Every round, over all seeds.", [round_row(material, row) for row in _records(whole)]),
    ]
    return [table for table in found if table.rows]


def concept_tables(material: Material, known: pd.DataFrame) -> list[Table]:
    """One per attribute, small cells left out; of two categories only the one that is told."""
    last = tables.ends(tables.raw(known))
    last = last[~last["concept"].isin([tables.ALL, tables.ALIKE]) & last["share"].notna() & last["first"].notna()]
    found = []
    for attribute in material.attributes:
        shown = shown_categories(material, attribute)
        rows = last[(last["attribute"] == attribute) & last["category"].isin(shown)]
        rows = rows.sort_values("concept", kind="stable")
        if len(set(rows["concept"])) > 1:
            start, end = int(rows["baseline_round"].iloc[0]), int(rows["round"].iloc[0])
            caption = f"Perceived {attribute} by {material.concept_kind}, from round {start} to round {end}."
            found.append(Table(caption, [drift_row(material, row) for row in _records(rows)]))
    return found


def drift_row(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    name = f"{words.level_text(material.level)} interval"
    return {
        **_whose(material, row),
        "from": _percent(row["first"]),
        "to": _percent(row["share"]),
        "shift": _points(row["shift"]),
        name: _interval(row["shift_low"], row["shift_high"]),
        "p": _p(row["p_value"]),
        "p adjusted": _p(row["p_adjusted"]),
        "seeds at both": _count(row["n_pairs"]),
        "read": _percent(row["coverage"]),
    }


def round_row(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    level = words.level_text(material.level)
    return {
        "round": _count(row["round"]),
        **_whose(material, row),
        "share": _percent(row["share"]),
        f"{level} interval": _interval(row["share_low"], row["share_high"], _share),
        "seeds": _count(row["n_seeds"]),
        "shift": _points(row["shift"]),
        f"{level} interval of shift": _interval(row["shift_low"], row["shift_high"]),
        "seeds at both": _count(row["n_pairs"]),
        "read": _percent(row["coverage"]),
    }


def _whose(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    single = row["concept"] not in (tables.ALL, tables.ALIKE)
    named = {key: str(row[key]) for key in ("concept", "attribute", "category") if single or key != "concept"}
    if len(material.classifiers) > 1:
        named["classifier"] = str(row["classifier"])
    return {key: words.readable(value, 60) for key, value in named.items()}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _count(value: Any) -> str:
    return "–" if pd.isna(value) else f"{int(value):,}"


def _share(value: float) -> str:
    return f"{100 * value:.1f}"


def _percent(value: Any) -> str:
    return "–" if pd.isna(value) else words.percent(float(value))


def _points(value: Any) -> str:
    return "–" if pd.isna(value) else words.points(float(value))


def _interval(low: Any, high: Any, form: Callable[[float], str] = words.points) -> str:
    return "–" if pd.isna(low) or pd.isna(high) else f"{form(float(low))} to {form(float(high))}"


def _p(value: Any) -> str:
    return "–" if pd.isna(value) else words.p_text(float(value)).removeprefix("p = ").removeprefix("p ")


# Beside the published study ------------------------------------------------------------------------------------------


def published(material: Material) -> list[Folded]:
    """One table per attribute and classifier, those with something of this run beside the study opened."""
    found: list[Folded] = []
    for attribute, classifier, rows in tables.published_blocks(material):
        beside = bool(rows["share"].notna().any())
        title = words.published_title(attribute, classifier if len(material.readers(attribute)) > 1 else "", beside=beside)
        note = words.readable(words.published_note(tables.not_beside(rows), material.level, beside=beside), 1000)
        lines = [published_row(line) for _, line in rows.groupby(["concept", "category"], sort=False)]
        table = _without_empty(Table(words.readable(title), _filled(lines)))
        found.append(Folded(table, beside and not any(each.open_ for each in found), note))
    return found


def published_row(line: pd.DataFrame) -> dict[str, str]:
    """`line`: one published row, with this run's shares at some rounds."""
    first = line.iloc[0]
    told = {"concept": str(first["concept"]), "category": str(first["category"])}
    told |= {"study: seeds, by people": f"{first['seed_pct']:.2f} %"}
    told |= {"study: round 1, by LLaVA": f"{first['generated_pct']:.2f} %"}
    for row in _records(line[line["round"].notna()]):
        start = int(row["round"]) == int(row["baseline_round"])
        name = "here: seeds" if start else f"here: round {_count(row['round'])}"
        told[name] = _banded(row["share"], row["share_low"], row["share_high"])
    return told | {"seeds": _range(line["n_seeds"])}


def _filled(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The same columns in every row, the number of seeds last."""
    names = sorted({name: None for row in rows for name in row}, key=lambda name: name == "seeds")
    return [{name: row.get(name, "–") for name in names} for row in rows]


def _banded(share: Any, low: Any, high: Any) -> str:
    return _percent(share) if pd.isna(share) or pd.isna(low) else f"{_percent(share)} ({_interval(low, high, _share)})"


def _range(counts: pd.Series[Any]) -> str:
    known = sorted({int(n) for n in counts.dropna()})
    return "–" if not known else f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,}–{known[-1]:,}"


def published_ways(material: Material) -> list[str]:
    """Over all seeds at the first round after the baseline, of the category that is told."""
    told = []
    for attribute, classifier, rows in tables.way_blocks(material):
        whole = rows[(rows["concept"] == tables.ALL) & (rows["round"] == rows["round"].min())]
        shown = _told(material, attribute, whole)
        row = shown.iloc[int(shown["published_way"].astype(float).abs().fillna(-1).argmax())]
        parts = {key: _estimate(row, name) for key, name in WAYS.items()}
        subject = words.subject(attribute, str(row["category"]))
        round_, n = int(row["round"]), int(row["n_seeds"])
        line = words.published_way(subject, classifier, round_, n, **parts, level=material.level)
        told.append(words.readable(line, 1000))
    return told


def _told(material: Material, attribute: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the categories that are told; all of them where people used none of those."""
    mine = rows[rows["category"].isin(shown_categories(material, attribute))]
    return mine if len(mine) else rows


WAYS = {"way": "published_way", "annotator": "change_of_annotator", "drift": "shift"}


def _estimate(row: pd.Series[Any], name: str) -> words.Estimate:
    return words.Estimate(value=float(row[name]), low=float(row[f"{name}_low"]), high=float(row[f"{name}_high"]))


def way_tables(material: Material) -> list[Folded]:
    found = []
    for attribute, classifier, rows in tables.way_blocks(material):
        shown = _told(material, attribute, rows[rows["published_way"].notna()])
        title = f"Perceived {attribute} read the study's way by {classifier}, in points: not drift."
        lines = [way_row(row) for row in _records(shown)]
        found += [Folded(Table(words.readable(title), lines))] if lines else []
    return found


def way_row(row: Mapping[str, Any]) -> dict[str, str]:
    told = {"concept": words.name_of(str(row["concept"])), "category": str(row["category"]), "round": _count(row["round"])}
    told |= {"seeds, by people": _percent(row["human_share"]), "seeds, by classifier": _percent(row["first"])}
    told |= {"the round, by classifier": _percent(row["share"]), "study's way": _points(row["published_way"])}
    told |= {"of it annotator": _points(row["change_of_annotator"]), "of it drift": _points(row["shift"])}
    return told | {"seeds": _count(row["n_seeds"])}


# Coverage and failures -----------------------------------------------------------------------------------------------


def counts(material: Material) -> list[Table]:
    """What became of pictures, of readings, and how far what was not read could move a share."""
    played, failures = tables.played(material.rounds), tables.failures(material.rounds)
    covered, bounds = tables.covered(material.coverage), tables.bounds(material.coverage)
    open_ = "How far what was not read could move each share at the last round."
    made = [
        Table("Pictures and captions by round.", [play_row(row) for row in _records(played)]),
        Table("One example of each failure.", [failure_row(material, row) for row in _records(failures)]),
        Table("Readings by round, over all seeds.", [reading_row(row) for row in _records(covered)]),
        Table(open_, [bound_row(row) for row in _records(bounds)]),
    ]
    return [_without_empty(table) for table in made if table.rows]


def play_row(row: Mapping[str, Any]) -> dict[str, str]:
    names = {"caption_truncated": "captions cut", "caption_echo": "prompt echoed", "prompt_truncated": "prompts cut",
             "retried": "drawn again", "parent_failed": "stopped before"}  # fmt: skip
    told = {names.get(key, key.replace("_", " ")): _count(value) for key, value in row.items() if key != "tokens"}
    return told | {"tokens a caption": "–" if pd.isna(row["tokens"]) else f"{row['tokens']:.1f}"}


def failure_row(material: Material, row: Mapping[str, Any]) -> dict[str, str]:
    """An error may quote a caption or a file: of licensed seeds only its kind is told."""
    error = _safe(str(row["error"] or ""), 200)
    example = f"{row['chain']} in round {row['round']}: {error}" if material.shown else error.split(":")[0]
    return {"status": str(row["status"]).replace("_", " "), "chains": _count(row["n"]), "example": words.readable(example, 260)}


def reading_row(row: Mapping[str, Any]) -> dict[str, str]:
    told = {"classifier": str(row["classifier"]), "attribute": str(row["attribute"]), "round": _count(row["round"])}
    told |= {key.removeprefix("n_").replace("_", " "): _count(value) for key, value in row.items() if key.startswith("n_")}
    return told | {"read": _percent(row["coverage"])}


def bound_row(row: Mapping[str, Any]) -> dict[str, str]:
    told = {key: str(row[key]) for key in ("classifier", "attribute", "category")} | {"read": _percent(row["coverage"])}
    return told | {"at least": _percent(row["share_at_least"]), "at most": _percent(row["share_at_most"])}


def _without_empty(table: Table) -> Table:
    """Without columns that say 0 (or nothing) in every row, apart from the round itself."""
    numbers = [name for name, number in table.head if number and name != "round"]
    empty = {name for name in numbers if all(row[name] in ("0", "–") for row in table.rows)}
    return Table(table.caption, [{key: value for key, value in row.items() if key not in empty} for row in table.rows])


# Run card ------------------------------------------------------------------------------------------------------------


def card(material: Material) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, (key, value) …): everything that identifies the run and its instruments."""
    identity, asked = material.manifest["identity"], material.experiment
    options = {"dataset": asked.dataset, "generator": asked.generator, "captioner": asked.captioner}
    groups: list[tuple[str, Values]] = [
        (group, {"option": option.name, **_model(option.call), **_mapping(identity.get(group))})
        for group, option in options.items()
    ]
    groups.append(("mitigation", {"option": material.manifest["names"]["mitigation"], **_mapping(identity["mitigation"])}))
    groups += [(f"instrument {each.name}", _instrument(each)) for each in material.instruments]
    said = {"said of the data set": "dataset_notes", "said of the instruments": "instrument_warnings"}
    groups += [(name, _mapping(lines)) for name, key in said.items() if (lines := material.told(key))]
    rest = {key: value for key, value in identity.items() if key not in (*options, "mitigation")}
    groups.append(("settings", {**rest, "level of intervals": material.level, "bootstrap draws": asked.resamples}))
    groups.append(("surroundings", _surroundings(material.provenance)))
    return [(name, [(key, _safe(value, 600)) for key, value in flat(body)]) for name, body in groups]


def _instrument(instrument: Instrument) -> Values:
    reads = {name: ", ".join(values) for name, values in instrument.categories.items()}
    parts = {key: _mapping(value) for key, value in instrument.identity.items()}
    own = {"judges itself": "yes: it is of the captioner's family"} if instrument.judges_itself else {}
    return {"folder": instrument.folder, "reads": reads, **own, **parts}


def _safe(text: str, most: int) -> str:
    return words.without_paths(words.readable(text, most))


def invocations(material: Material) -> list[Table]:
    """Every invocation: what extent was asked for, and what extent was looked at (each look is a chance to stop)."""
    rows = [
        {
            "start": str(entry.get("start", ""))[:19],
            "extent": _compact(entry.get("extent")),
            "looks": _compact(entry.get("looks")),
            "commit": str(entry.get("commit") or "unknown")[:12] + ("+dirty" if "+dirty" in str(entry.get("commit")) else ""),
            "device": str(entry.get("device") or ""),
            "outcome": _safe(str(entry.get("outcome") or "at work when this page was made"), 120),
        }
        for entry in material.provenance
    ]
    return [Table("Invocations and looks, oldest first.", rows)] if rows else []


def flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of nested plain data; a target is told by its last name."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple) and any(isinstance(value, Mapping | list | tuple) for value in node):
        for index, value in enumerate(node):
            yield from flat(value, f"{path}[{index}]")
    elif path.endswith("_target_"):
        yield path.replace("_target_", "class"), str(node).rpartition(".")[2]
    else:
        yield (
            path,
            (node if isinstance(node, str) else json.dumps(node, default=str, ensure_ascii=False)) if node else _empty(node),
        )


def _empty(node: Any) -> str:
    """0 and false are values; nothing at all is a dash."""
    return "–" if node is None or node in ("", [], {}) else json.dumps(node)


def _mapping(node: Any) -> dict[str, Any]:
    """The identity of one group; a model's entry is a hash there, and called so."""
    if isinstance(node, Mapping):
        return {("weights" if key == "model" else str(key)): value for key, value in node.items()}
    return {str(index + 1): value for index, value in enumerate(node or [])}


def _model(call: Mapping[str, Any]) -> dict[str, Any]:
    """How the config names the model; the identity holds only its hash."""
    return {key: call[key] for key in ("model", "revision") if call.get(key)}


def _surroundings(provenance: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = provenance[-1] if provenance else {}
    told = {key: last[key] for key in ("commit", "device", "versions") if last.get(key)}
    return {"command": " ".join(map(str, last.get("command", []))), **told} if last else {}


def _compact(node: Any) -> str:
    return words.readable(", ".join(f"{key} {value}" for key, value in flat(node) if key) if node else "–", 300)


def _plain(names: Iterable[str]) -> list[str]:
    return [words.readable(name, 40) for name in names]
