"""What people's labels say: of the instrument at both rounds, and of the drift without trusting the instrument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.drift import DRIFT_COLUMNS
from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import WHOSE, Panel, Study, View, make_panel, stacked
from driftloop.core import rng
from driftloop.statistics.agreement import alpha_limits, krippendorff_alpha
from driftloop.statistics.audited import Audited, audited_share, correlation_of
from driftloop.statistics.confusion import pooling_test
from driftloop.statistics.intervals import wilson
from driftloop.statistics.panel import Bools, Floats, Group, Ints
from driftloop.statistics.quantification import contrast_limits, estimate_limits

AUDIT_COLUMNS = [
    *WHOSE, "classifier", "round", "quantity", "label", "reading", "value", "low", "high", "n", "p_value", "note",
]  # fmt: skip
LEVEL_OF_DOUBT = 0.05
SHUFFLES = 2000


@dataclass(frozen=True, slots=True)
class Answers:
    """What people said of the sampled pictures about one attribute.

    `given` [items, annotators] are numbers of `categories`, their number where somebody could not tell, -1 where nobody
    asked. `agreed` [items]: the majority's answer; a tie is "could not tell", counted in `ties`.
    """

    attribute: str
    categories: Sequence[str]
    given: Ints
    agreed: Ints
    ties: int

    @property
    def labelled(self) -> Bools:
        return self.agreed >= 0


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The sample (one row an item) in the frame of a study, and the two rounds it was drawn at.

    `refused`: why nothing can be estimated from it; "" if it can.
    """

    study: Study
    sample: pd.DataFrame
    rounds: tuple[int, int]
    level: float
    seed: int
    refused: str = ""

    @property
    def seeds(self) -> Ints:
        """The seed of each item, as a position in the study."""
        return np.asarray(self.study.seed_ids.get_indexer(pd.Index(self.sample["seed_id"])), np.intp)

    @property
    def positions(self) -> list[int]:
        """The two rounds, as positions in the study."""
        return [int(place) for place in self.study.rounds.get_indexer(pd.Index(self.rounds))]


def audit_tables(
    material: Material, sample: pd.DataFrame, design: Mapping[str, Any], labels: pd.DataFrame, refused: str = ""
) -> dict[str, pd.DataFrame]:
    """`audit`: agreement of the annotators, confusion at both rounds and whether it is the same; `drift`: method `audited`.

    `sample` and `design` are what the stage `audit` wrote, `labels` one row an item, attribute and annotator.
    """
    rounds = (int(design["baseline"]), int(design["round"]))
    if not refused and not set(rounds) <= set(material.study.rounds):
        refused = f"refused: the sample is of rounds {rounds[0]} and {rounds[1]}"
    seed, level = rng.derive(material.settings.root_seed, "audit analysis"), material.settings.level
    audit = Audit(study=material.study, sample=sample, rounds=rounds, level=level, seed=seed, refused=refused)
    drift, rows = [], list[dict[str, Any]]()
    for attribute, categories in design["attributes"].items():
        answers = gathered(labels[labels["attribute"] == attribute], sample["item"], attribute, categories)
        rows += agreement_rows(audit, answers, material.settings.resamples)
        for instrument in material.instruments:
            if instrument.kind == "labels" and attribute in instrument.categories:
                found, more = _of_instrument(audit, material, instrument, answers)
                drift.append(found)
                rows += more
    return {
        "drift": stacked(drift, [*DRIFT_COLUMNS, "note"]),
        "audit": pd.DataFrame(rows, columns=AUDIT_COLUMNS),
    }


def gathered(labels: pd.DataFrame, items: pd.Series[Any], attribute: str, categories: Sequence[str]) -> Answers:
    """The answers about one attribute, in the order of `items`."""
    annotators = sorted(labels["annotator"].unique())
    given = np.full((len(items), len(annotators)), -1, np.intp)
    codes = pd.Index(categories).get_indexer(pd.Index(labels["label"]))
    places = (pd.Index(items).get_indexer(pd.Index(labels["item"])), pd.Index(annotators).get_indexer(labels["annotator"]))
    given[places] = np.where(codes >= 0, codes, len(categories))
    votes = np.stack([(given == code).sum(axis=1) for code in range(len(categories) + 1)], axis=1)
    most = votes.max(axis=1)
    tied = (votes == most[:, None]).sum(axis=1) > 1
    agreed = np.where(tied, len(categories), votes.argmax(axis=1))
    asked = most > 0
    return Answers(attribute, categories, given, np.where(asked, agreed, -1).astype(np.intp), int((tied & asked).sum()))


# Rows of the table audit ---------------------------------------------------------------------------------------------


def _row(audit: Audit, attribute: str, quantity: str, value: float, **more: Any) -> dict[str, Any]:
    study = audit.study
    whose = {"run": study.run, "concept_kind": study.concept_kind, "concept": "all", "attribute": attribute}
    return {**whose, "quantity": quantity, "value": value, "note": ""} | more


def agreement_rows(audit: Audit, answers: Answers, resamples: int) -> Iterator[dict[str, Any]]:
    """How much was labelled, and how far annotators agree; "cannot tell" is a category of its own in their agreement."""
    name, size = answers.attribute, len(answers.categories)
    for round_ in audit.rounds:
        here = (audit.sample["round"] == round_).to_numpy()
        for quantity, which in (
            ("pictures", here),
            ("labelled", here & answers.labelled),
            ("cannot_tell", answers.agreed == size),
        ):
            number = int((here & which).sum())
            yield _row(audit, name, quantity, float(number), round=round_, n=number)
    yield _row(audit, name, "annotators", float(answers.given.shape[1]), n=answers.given.shape[1])
    yield _row(audit, name, "ties", float(answers.ties), n=answers.ties, note="counted as cannot tell")
    twice = int(((answers.given >= 0).sum(axis=1) > 1).sum())
    low, high = alpha_limits(answers.given, size + 1, resamples, rng.derive(audit.seed, name), audit.level)
    told = "Krippendorff, nominal, items redrawn" if twice else "needs two annotators of the same pictures"
    yield _row(audit, name, "alpha", krippendorff_alpha(answers.given, size + 1), low=low, high=high, n=twice, note=told)


def _of_instrument(
    audit: Audit, material: Material, instrument: Instrument, answers: Answers
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    categories = instrument.categories[answers.attribute]
    rows = material.readings_of(instrument)
    rows = rows[(rows["attribute"] == answers.attribute) & (rows["round"] >= material.baseline_round)]
    panel = make_panel(rows, audit.study, instrument.name, answers.attribute, categories)
    if not audit.refused and list(categories) != list(answers.categories):
        audit = replace(audit, refused=f"refused: people were asked for {', '.join(answers.categories)}")
    if audit.refused:
        return audited_rows(audit, panel, None, np.zeros(len(audit.sample))), []
    read = _read(audit, rows, categories)
    return audited_rows(audit, panel, answers, read), list(confusion_rows(audit, panel, answers, read))


def _read(audit: Audit, rows: pd.DataFrame, categories: Sequence[str]) -> Ints:
    """What the instrument read in each sampled picture; the number of categories where it read nothing."""
    ok = rows[rows["status"] == "ok"]
    labels = pd.Series(ok["label"].astype(str).to_numpy(), index=pd.MultiIndex.from_frame(ok[["chain", "round"]]))
    found = labels.reindex(pd.MultiIndex.from_frame(audit.sample[["chain", "round"]]))
    codes = pd.Index(categories).get_indexer(pd.Index(found.astype(object)))
    return np.where(codes >= 0, codes, len(categories)).astype(np.intp)


def confusion_rows(audit: Audit, panel: Panel, answers: Answers, read: Ints) -> Iterator[dict[str, Any]]:
    """P(reading | label) at both rounds, weighted by one over the chance to be drawn, and a test that they are equal.

    The interval is Wilson's at Kish's effective number of pictures. The test shuffles the rounds among pictures with the
    same label, each with its weight; not read is a reading of its own.
    """
    told, rounds = (answers.agreed >= 0) & (answers.agreed < len(panel.categories)), audit.sample["round"].to_numpy()
    weight = 1 / audit.sample["probability"].to_numpy(np.float64)
    whose = {"classifier": panel.classifier}
    for round_, (code, label) in product(audit.rounds, enumerate(panel.categories)):
        mine = told & (rounds == round_) & (answers.agreed == code)
        for k, reading in enumerate([*panel.categories, "not read"]):
            value, low, high = _share(weight[mine], read[mine] == k, audit.level)
            what: dict[str, Any] = {
                "label": label,
                "reading": reading,
                "round": round_,
                "low": low,
                "high": high,
                "n": int(mine.sum()),
            }
            yield _row(audit, panel.attribute, "confusion", value, **what, **whose)
    yield _equality(audit, panel, answers, read, told) | whose


def _share(weight: Floats, hits: Bools, level: float) -> tuple[float, float, float]:
    if not weight.size:
        return np.nan, np.nan, np.nan
    share, size = float(weight @ hits / weight.sum()), float(weight.sum() ** 2 / (weight @ weight))
    low, high = wilson(np.array(share * size), np.array(size), level)
    return share, min(max(float(low), 0.0), share), max(min(float(high), 1.0), share)  # but for rounding


def _equality(audit: Audit, panel: Panel, answers: Answers, read: Ints, told: Bools) -> dict[str, Any]:
    later = (audit.sample["round"] == audit.rounds[1]).to_numpy()
    if not (told & later).any() or not (told & ~later).any():
        return _row(audit, panel.attribute, "equal_confusion", np.nan, note="needs labels of both rounds")
    weight = 1 / audit.sample["probability"].to_numpy(np.float64)
    parts = (read[told], answers.agreed[told], later[told].astype(np.intp))
    seed = rng.derive(audit.seed, "equality", panel.classifier, panel.attribute)
    test = pooling_test(*parts, SHUFFLES, seed, weight[told])
    differ = test.p_value < LEVEL_OF_DOUBT
    note = (
        "warning: the instrument errs otherwise at the later round" if differ else "no sign of other errors at the later round"
    )
    return _row(audit, panel.attribute, "equal_confusion", test.statistic, p_value=test.p_value, n=int(told.sum()), note=note)


# Rows of the table drift ---------------------------------------------------------------------------------------------


def audited_rows(audit: Audit, panel: Panel, answers: Answers | None, read: Ints | Floats) -> pd.DataFrame:
    """Share at both rounds and shift, per group and category; the reason instead where there is none.

    `n_seeds` were labelled at the round, `n_pairs` at both; `coverage` is the share of labelled pictures people could tell.
    """
    tables = []
    parts = None if answers is None else [_of_round(audit, panel, answers, read, place) for place in audit.positions]
    for group in audit.study.groups:
        view = View(audit.study, panel, group)
        values = _unknown(panel) if parts is None else _estimates(audit, group, parts)
        note = audit.refused or _note(audit, values)
        axes = {"round": audit.rounds, "category": panel.categories}
        tables.append(view.rows(axes, values).assign(method="audited", note=note))
    return pd.concat(tables, ignore_index=True).assign(p_value=np.nan, p_adjusted=np.nan)


def _unknown(panel: Panel) -> dict[str, Floats]:
    names = ("coverage", "share", "share_low", "share_high", "shift", "shift_low", "shift_high")
    empty, none = np.full((2, len(panel.categories)), np.nan), np.zeros((2, len(panel.categories)), np.int64)
    return {"n_seeds": none, "n_pairs": none, **dict.fromkeys(names, empty)}


def _note(audit: Audit, values: Mapping[str, Any]) -> str:
    first, then = (int(number) for number in values["n_seeds"][:, 0])
    if not first or not then:
        return "no label at " + " and ".join(
            f"round {round_}" for round_, n in zip(audit.rounds, (first, then), strict=True) if not n
        )
    return f"labelled by people: {first} pictures of round {audit.rounds[0]} and {then} of round {audit.rounds[1]}"


@dataclass(frozen=True, slots=True)
class Round:
    """What `audited_share` needs of one round, for all seeds of the study."""

    readings: Floats
    labels: Floats
    drawn: Floats
    chances: Floats

    def of(self, members: Ints) -> Audited:
        return audited_share(*(part[members] for part in (self.readings, self.labels, self.drawn, self.chances)))

    def shown(self, members: Ints) -> Bools:
        return np.asarray(np.isfinite(self.labels[members, 0]))

    def told(self, members: Ints) -> float:
        """The part of the labelled pictures that people could tell."""
        shown = self.shown(members)
        return float(self.labels[members][shown].sum(axis=1).mean()) if shown.any() else float("nan")


def _of_round(audit: Audit, panel: Panel, answers: Answers, read: Ints | Floats, place: int) -> Round:
    n, size = len(audit.study.seed_ids), len(panel.categories)
    number = panel.statuses[:, place].sum(axis=1)
    readings = np.full((n, size), np.nan)
    np.divide(panel.counts[:, place], number[:, None], out=readings, where=number[:, None] > 0)
    here = (audit.sample["round"] == audit.study.rounds[place]).to_numpy() & answers.labelled
    seeds, one_hot = audit.seeds[here], np.eye(size + 1)[:, :size]
    labels, drawn, chances = np.full((n, size), np.nan), np.full((n, size), np.nan), np.full(n, np.nan)
    labels[seeds], drawn[seeds] = one_hot[answers.agreed[here]], one_hot[read[here].astype(np.intp)]
    chances[seeds] = audit.sample["probability"].to_numpy(np.float64)[here]
    return Round(readings, labels, drawn, chances)


def _estimates(audit: Audit, group: Group, parts: Sequence[Round]) -> dict[str, Floats]:
    """Each [2 rounds, categories]. Weighing concepts alike, each is estimated by itself."""
    early, later = (_standardised(part, group) for part in parts)
    first, then = early.moments(group.units), later.moments(group.units)
    limits = [estimate_limits(moments, audit.level) for moments in (first, then)]
    below, above = contrast_limits(first, then, correlation_of(early, later, group.units), audit.level)
    shown = [part.shown(group.members) for part in parts]
    told = [part.told(group.members) for part in parts]
    empty = np.full_like(early.mean, np.nan)
    size = (1, early.mean.size)
    return {
        "n_seeds": np.tile(np.array([[seen.sum()] for seen in shown]), size),
        "n_pairs": np.tile(np.array([[shown[0].sum()], [(shown[0] & shown[1]).sum()]]), size),
        "coverage": np.tile(np.array(told)[:, None], size),
        "share": np.array([early.mean, later.mean]),
        "share_low": np.array([low for low, _ in limits]),
        "share_high": np.array([high for _, high in limits]),
        "shift": np.array([0 * early.mean, later.mean - early.mean]),
        "shift_low": np.array([empty, below]),
        "shift_high": np.array([empty, above]),
    }


def _standardised(part: Round, group: Group) -> Audited:
    """The audited share of a group whose strata count alike."""
    if group.n_strata == 1:
        return part.of(group.members)
    places = [np.flatnonzero(group.strata == stratum) for stratum in range(group.n_strata)]
    found = [part.of(group.members[place]) for place in places]
    influence = np.zeros((group.members.size, found[0].mean.size))
    for place, one in zip(places, found, strict=True):
        influence[place] = one.influence * group.members.size / (group.n_strata * place.size)
    mean = np.mean([one.mean for one in found], axis=0)
    step = max(one.step for one in found) / group.n_strata
    return Audited(mean, influence, step, sum(one.n_audited for one in found))
