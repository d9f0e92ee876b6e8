"""Shares corrected for the instrument's errors, beside the raw ones, and what the instrument is like.

The human labels of the seeds (`label_<attribute>`) say how often the instrument errs on the seeds' own pictures; if it erred
alike in every round, these would be the shares that people would have given. It need not: the raw drift stays the headline
until pictures of both rounds are labelled (stage `audit`). Method `adjusted` inverts the confusion matrix, method `em` is
Saerens' on the probabilities. Emotion and activity classifiers are not corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from driftloop.analysis.drift import DRIFT_COLUMNS
from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import WHOSE, Panel, Study, View, coverage, make_panel, stacked
from driftloop.core import rng
from driftloop.statistics.confusion import condition_number, pooling_test, youden
from driftloop.statistics.corrected import Calibration, Estimate, Items, corrected, of_groups
from driftloop.statistics.intervals import wilson
from driftloop.statistics.panel import Floats, Ints, seed_means, tally
from driftloop.statistics.quantification import over_identification
from driftloop.statistics.tests import TestResult

INSTRUMENT_COLUMNS = [
    *WHOSE, "classifier", "round", "quantity", "label", "reading", "value", "low", "high", "n", "p_value", "note",
]  # fmt: skip
ASSUMED = "if the instrument errs in every round as on the labelled seeds; raw is the headline until both rounds are audited"
LEVEL_OF_DOUBT = 0.01
LEAST_FOR_FIT = 100  # labelled seeds; with 30 the test rejected .076 of the time where nothing was wrong
APART = 0.01  # the two corrections never agree to the last digit
GROUPS_TO_TEST = 12  # a label column with more values than that is no group


@dataclass(frozen=True, slots=True)
class Labels:
    """Human labels of the seeds of a study: `codes` [n], -1 where there is none that counts; `left_out` counts the others."""

    names: Sequence[str]
    codes: Ints
    left_out: dict[str, int]
    unlabelled: int


@dataclass(frozen=True)
class Known:
    """One attribute as one classifier read it, its readings (`rows`) and the human labels of the seeds."""

    study: Study
    panel: Panel
    rows: pd.DataFrame
    labels: Labels
    calibration: Calibration
    level: float

    @property
    def labelled(self) -> bool:
        """Whether every label stands on some seed that was read, and there are two: else there is no confusion."""
        return len(self.labels.names) > 1 and bool(self.calibration.counts.sum(axis=(0, 2)).min() > 0)


class Correction:
    """Adds methods `adjusted` and `em` to the table `drift`, and makes the table `instrument`.

    `left_out`: labels that are no category (counted, not used); an empty list makes each of them a class of its own.
    Refused, as rows with a reason: fewer than `least` seeds of a label, a confusion matrix with a condition number above
    `most_condition`, a label whose Youden's J is below `least_youden`.
    """

    def __init__(
        self,
        *,
        left_out: Sequence[str] = ("unsure", "disagreement"),
        least: int = 5,
        most_condition: float = 20.0,
        least_youden: float = 0.1,
    ) -> None:
        if least < 1 or most_condition <= 1 or not 0 < least_youden < 1:
            raise ValueError(
                "least must be at least 1, most_condition above 1 and least_youden between 0 and 1; "
                f"got {least}, {most_condition} and {least_youden}"
            )
        self.left_out, self.least = tuple(left_out), least
        self.most_condition, self.least_youden = most_condition, least_youden

    def tables(self, material: Material) -> dict[str, pd.DataFrame]:
        """`drift`: rows to be added to those of the core analysis, with a `note`; `instrument`."""
        found = [
            self._of(material, instrument, attribute)
            for instrument in material.instruments
            if instrument.kind == "labels"
            for attribute in instrument.categories
        ]
        return {
            "drift": stacked([drift for drift, _ in found], [*DRIFT_COLUMNS, "note"]),
            "instrument": stacked([instrument for _, instrument in found], INSTRUMENT_COLUMNS),
        }

    def _of(self, material: Material, instrument: Instrument, attribute: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        study, categories = material.study, instrument.categories[attribute]
        rows = material.readings_of(instrument)
        rows = rows[(rows["attribute"] == attribute) & (rows["round"] >= material.baseline_round)]
        panel = make_panel(rows, study, instrument.name, attribute, categories)
        labels = human_labels(material.seeds, study, attribute, self.left_out, categories)
        settings = material.settings
        calibration = Calibration(
            means=panel.means,
            labels=labels.codes,
            n_labels=len(labels.names),
            concepts=study.groups[1].strata,
            units=study.groups[0].units,
            baseline=study.baseline,
            resamples=settings.resamples,
            seed=rng.derive(settings.root_seed, "correction", instrument.name, attribute),
            items=items_of(rows, panel, study) if list(labels.names) == list(categories) else None,
        )
        known = Known(study, panel, rows, labels, calibration, settings.level)
        reasons = self.reasons(known)
        drift = corrected_rows(known, reasons) if known.labelled else refused_rows(known, reasons)
        return drift, pd.DataFrame(list(described(known, reasons, material.seeds)), columns=INSTRUMENT_COLUMNS)

    def reasons(self, known: Known) -> list[str]:
        """Why there is no estimate, for each group of the study; "" where there is one."""
        labels = known.labels
        if len(labels.names) < 2:
            told = f"all of them are {labels.names[0]}" if labels.names else "there are none"
            return [f"refused: human labels of two categories are needed, {told}"] * len(known.study.groups)
        number = known.calibration.counts.sum(axis=(0, 2))
        if number.min() < self.least:
            rare = ", ".join(f"{labels.names[i]} ({number[i]:.0f})" for i in np.flatnonzero(number < self.least).tolist())
            return [f"refused: fewer than {self.least} labelled seeds were read of {rare}"] * len(known.study.groups)
        shares = number / number.sum()
        found = [self._reason(matrix, shares, labels.names) for matrix in known.calibration.point.matrices]
        worst = next((reason for reason in found[1:] if reason), "")
        return [found[0], worst, *found[1:]]

    def _reason(self, matrix: Floats, shares: Floats, names: Sequence[str]) -> str:
        condition, apart = condition_number(matrix), youden(matrix, shares)
        if len(names) > matrix.shape[1]:
            return f"refused: {len(names)} labels cannot be told from {matrix.shape[1]} readings"
        if condition > self.most_condition:
            return f"refused: confusion matrix near singular (condition number {condition:.3g} > {self.most_condition:g})"
        if apart.min() < self.least_youden:
            worst = names[int(apart.argmin())]
            return f"refused: the readings hardly tell {worst} (Youden's J {apart.min():.2f} < {self.least_youden:g})"
        return ""


def human_labels(
    seeds: pd.DataFrame, study: Study, attribute: str, left_out: Sequence[str], categories: Sequence[str]
) -> Labels:
    """The column `label_<attribute>` in the order of the study; its values in the instrument's order where they share it."""
    column = f"label_{attribute}"
    given = seeds.set_index("seed_id")[column] if column in seeds else pd.Series(index=seeds["seed_id"], dtype=object)
    given = given.reindex(study.seed_ids)
    there = given.notna() & (given.astype(str) != "")
    aside = there & given.isin(left_out)
    values = set(given[there & ~aside].astype(str))
    names = [name for name in categories if name in values] + sorted(values - set(categories))
    codes = pd.Index(names).get_indexer(pd.Index(given.where(there & ~aside).astype(object)))
    counted = {str(name): int(number) for name, number in given[aside].value_counts().items()}
    return Labels(names, np.asarray(codes, np.intp), counted, int((~there).sum()))


def items_of(rows: pd.DataFrame, panel: Panel, study: Study) -> Items | None:
    """The readings with their probabilities; None where some reading has none."""
    ok = rows[(rows["status"] == "ok").to_numpy()]
    if ok["probabilities"].isna().any():
        return None
    seed = study.seed_ids.get_indexer(pd.Index(ok["seed_id"])).astype(np.intp)
    round_ = study.rounds.get_indexer(pd.Index(ok["round"])).astype(np.intp)
    weight = 1 / panel.counts.sum(axis=2)[seed, round_]
    given = np.array(ok["probabilities"].to_list(), np.float64).reshape(len(ok), len(panel.categories))
    return Items(seed, round_, given, weight)


# Rows of the table drift ---------------------------------------------------------------------------------------------


def refused_rows(known: Known, reasons: Sequence[str]) -> pd.DataFrame:
    """A row wherever there would be an estimate, with the reason instead."""
    names = known.labels.names if len(known.labels.names) > 1 else known.panel.categories
    empty = np.full((len(known.study.groups), len(known.study.rounds), len(names)), np.nan)
    values = dict.fromkeys(("share", "share_low", "share_high", "shift", "shift_low", "shift_high"), empty)
    return pd.concat([_rows(known, values, names, method, reasons) for method in ("adjusted", "em")], ignore_index=True)


def corrected_rows(known: Known, reasons: Sequence[str]) -> pd.DataFrame:
    """Both methods, every group, round and label."""
    out, tables = np.array([bool(reason) for reason in reasons])[:, None, None], []
    for method, estimate in _methods(known).items():
        values = corrected(known.calibration, estimate, known.level)
        values = {name: np.where(out, np.nan, part) for name, part in values.items()}
        tables.append(_rows(known, values, known.labels.names, method, reasons))
    return pd.concat(tables, ignore_index=True)


def _methods(known: Known) -> dict[str, Estimate]:
    return {"adjusted": known.calibration.adjusted, "em": known.calibration.em}


def _rows(
    known: Known, values: Mapping[str, Floats], names: Sequence[str], method: str, reasons: Sequence[str]
) -> pd.DataFrame:
    """`values` are [groups, rounds, names]. Corrected shares are not tested."""
    tables, (read, both) = [], (of_groups(part).astype(np.int64) for part in known.calibration.read)
    for g, group in enumerate(known.study.groups):
        view = View(known.study, known.panel, group)
        counts = {"n_seeds": read[g], "n_pairs": both[g], "coverage": coverage(view)}
        columns = {name: np.repeat(column, len(names)) for name, column in counts.items()}
        columns |= {name: part[g] for name, part in values.items()}
        axes = {"round": known.study.rounds, "category": names}
        tables.append(view.rows(axes, columns).assign(method=method, note=reasons[g] or ASSUMED))
    return pd.concat(tables, ignore_index=True).assign(p_value=np.nan, p_adjusted=np.nan)


# Rows of the table instrument ----------------------------------------------------------------------------------------


def described(known: Known, reasons: Sequence[str], seeds: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The confusion, what it rests on, and whether the correction can be believed."""
    yield from _counted(known, reasons)
    if not known.labelled:
        return
    yield from _confusion(known)
    yield from _quality(known)
    yield from _pooling(known, seeds)
    if not reasons[0]:
        yield from _fit(known)
        yield from _methods_apart(known)


def _row(known: Known, quantity: str, value: float, **more: Any) -> dict[str, Any]:
    study, panel = known.study, known.panel
    whose = {"run": study.run, "concept_kind": study.concept_kind, "concept": "all", "attribute": panel.attribute}
    round_ = int(study.rounds[study.baseline])
    return whose | {"classifier": panel.classifier, "round": round_, "quantity": quantity, "value": value, "note": ""} | more


def _counted(known: Known, reasons: Sequence[str]) -> Iterator[dict[str, Any]]:
    labels, read = known.labels, np.isfinite(known.calibration.first[:, 0])
    for code, name in enumerate(labels.names):
        number = int((read & (labels.codes == code)).sum())
        yield _row(known, "labelled", float(number), label=name, n=number, note="seeds with this label that were read")
    for name, number in labels.left_out.items():
        yield _row(known, "left_out", float(number), label=name, n=number, note="no category: counted and not used")
    yield _row(known, "unlabelled", float(labels.unlabelled), n=labels.unlabelled)
    for group, reason in zip(known.study.groups, reasons, strict=True):
        if reason:
            yield _row(known, "warning", np.nan, concept=group.name, note=reason)


def _confusion(known: Known) -> Iterator[dict[str, Any]]:
    """P(reading | label) of all, and of each concept after pooling, with percentile limits, Wilson's where they meet."""
    tails = [(1 - known.level) / 2, (1 + known.level) / 2]
    low, high = np.quantile(known.calibration.draws.matrices, tails, axis=0)
    counts = known.calibration.counts.sum(axis=2)
    numbers = np.vstack([counts.sum(axis=0), counts])
    matrices = known.calibration.point.matrices
    seeds = np.broadcast_to(numbers[..., None].clip(1), matrices.shape)
    scored = wilson(matrices * seeds, seeds, known.level)
    low, high = (np.where(low < high, limit, other) for limit, other in zip((low, high), scored, strict=True))
    for g, name in enumerate(_names(known)):
        for (i, label), (k, reading) in product(enumerate(known.labels.names), enumerate(known.panel.categories)):
            limits = {"low": low[g, i, k], "high": high[g, i, k]}
            value = float(matrices[g, i, k])
            yield _row(known, "confusion", value, concept=name, label=label, reading=reading, n=int(numbers[g, i]), **limits)


def _names(known: Known) -> list[str]:
    """Groups with a confusion of their own."""
    return [group.name for group in known.study.groups if group.name != "all_standardised"]


def _quality(known: Known) -> Iterator[dict[str, Any]]:
    number = known.calibration.counts.sum(axis=(0, 2))
    for name, matrix in zip(_names(known), known.calibration.point.matrices, strict=True):
        yield _row(known, "condition_number", condition_number(matrix), concept=name)
        for label, value in zip(known.labels.names, youden(matrix, number / number.sum()), strict=True):
            yield _row(known, "youden_j", float(value), concept=name, label=label)


def _pooling(known: Known, seeds: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """How strongly concepts are pooled, and whether the instrument errs alike in concepts and in other labelled groups."""
    yield _row(known, "pooling_strength", known.calibration.strength, note="seeds that all concepts together are worth to each")
    first = known.calibration.first
    used = (known.labels.codes >= 0) & np.isfinite(first[:, 0])
    read = first.argmax(axis=1).astype(np.intp)[used]
    for name, codes in _groupings(known, seeds):
        both = codes[used] >= 0
        if len(set(codes[used][both])) > 1:
            parts = (read[both], known.labels.codes[used][both], codes[used][both])
            test = pooling_test(
                *parts, min(known.calibration.resamples, 1000), rng.derive(known.calibration.seed, "pooling", name)
            )
            yield _tested(known, "pooling", test, f"errs alike in every {name}", f"errs differently by {name}", label=name)


def _groupings(known: Known, seeds: pd.DataFrame) -> Iterator[tuple[str, Ints]]:
    yield "concept", known.calibration.concepts
    table = seeds.set_index("seed_id").reindex(known.study.seed_ids)
    for column in table.columns:
        if column.startswith("label_") and column != f"label_{known.panel.attribute}":
            codes, values = pd.factorize(table[column])
            if 1 < len(values) <= GROUPS_TO_TEST:
                yield column, codes.astype(np.intp)


def _tested(known: Known, quantity: str, test: TestResult, fits: str, doubt: str, **more: Any) -> dict[str, Any]:
    """A row of a test whose small p-value casts doubt on the correction."""
    note = f"warning: {doubt}" if test.p_value < LEVEL_OF_DOUBT else f"no sign against: {fits}"
    return _row(known, quantity, test.statistic, p_value=test.p_value, note=note, **more)


def _fit(known: Known) -> Iterator[dict[str, Any]]:
    """At every later round: could any composition of the labels give these readings?"""
    finer = _refined(known)
    labels, study = known.labels, known.study
    if known.calibration.counts.sum() < LEAST_FOR_FIT:
        yield _row(known, "over_identification", np.nan, note=f"not tested: fewer than {LEAST_FOR_FIT} labelled seeds")
        return
    if finer.shape[2] <= len(labels.names):
        yield _row(known, "over_identification", np.nan, note="not testable: as many readings as labels, and no probabilities")
        return
    whole = replace(known.calibration, means=finer, items=None)
    for r in study.later:
        matrices, readings = whole.draws.matrices[:, 0], whole.draws.readings[:, 0, r]
        test = over_identification(whole.point.matrices[0], whole.point.readings[0, r], matrices, readings, whole.counts.sum())
        doubt = "no composition of the labels gives these readings: the instrument errs otherwise than on the seeds"
        round_ = int(study.rounds[r])
        if test.dof:
            yield _tested(known, "over_identification", test, "the readings fit", doubt, round=round_)
        else:
            note = "not testable: equally sure of all readings of a category"
            yield _row(known, "over_identification", np.nan, round=round_, note=note)


def _refined(known: Known) -> Floats:
    """Mean readings [n, R, 2K], each category split into readings as sure as the lower quarter of the seeds' and others."""
    ok = (known.rows["status"] == "ok").to_numpy()
    rows, categories = known.rows[ok], known.panel.categories
    if not len(rows) or rows["probability"].isna().any():
        return known.panel.means
    code = pd.Index(categories).get_indexer(pd.Index(rows["label"]))
    seed, round_ = (
        known.study.seed_ids.get_indexer(pd.Index(rows["seed_id"])),
        known.study.rounds.get_indexer(pd.Index(rows["round"])),
    )
    sure, first = rows["probability"].to_numpy(), round_ == known.study.baseline
    for k in range(len(categories)):
        at_first = sure[first & (code == k)]
        threshold = np.quantile(at_first, 0.25) if at_first.size else 0.5
        code = np.where((code == k) & (sure < threshold - 1e-9), k + len(categories), code)
    shape = (len(known.study.seed_ids), len(known.study.rounds), 2 * len(categories))
    return seed_means(tally(seed.astype(np.intp), round_.astype(np.intp), code.astype(np.intp), shape))


def _methods_apart(known: Known) -> Iterator[dict[str, Any]]:
    """Both methods estimate the same if the assumption holds; what they differ by, of all seeds, in the same draws."""
    adjusted, other = known.calibration.adjusted, known.calibration.em
    tails = [(1 - known.level) / 2, (1 + known.level) / 2]
    apart_draws = other.draws[:, 0] - adjusted.draws[: len(other.draws), 0]
    low, high = np.nanquantile(apart_draws, tails, axis=0)
    for r, i in product(known.study.later, range(len(known.labels.names))):
        value = float(other.shares[0, r, i] - adjusted.shares[0, r, i])
        apart = (low[r, i] > 0 or high[r, i] < 0) and abs(value) >= APART
        yield _row(
            known, "em_minus_adjusted", value, label=known.labels.names[i],
            low=low[r, i], high=high[r, i], round=int(known.study.rounds[r]),
            note="warning: the two corrections disagree" if apart else "",
        )  # fmt: skip
