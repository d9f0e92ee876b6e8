"""Differences between two arms: against the naive definition, on twins, at the edges, and what is refused."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftloop.analysis.by_seed import seed_rows
from driftloop.analysis.comparison import Arm, ReadBy, Rules, compared, differences, remarks
from driftloop.analysis.families import adjust_differences
from driftloop.analysis.material import Instrument
from driftloop.analysis.study import Study
from driftloop.core.errors import ConfigError
from driftloop.statistics.multiplicity import benjamini_hochberg, holm
from driftloop.statistics.tests import mcnemar
from rows import one, only

CATEGORIES = {"gender": ("female", "male"), "age": ("0-19", "20-39", "40+")}
INSTRUMENT = Instrument(name="vit", folder="labels/vit-0", kind="labels", categories=CATEGORIES)
CONCEPTS = ["anger", "fear", "joy"]
RULES = Rules(resamples=60)
LAST = 2


def seed_table(n: int) -> pd.DataFrame:
    names = [f"s{i:03d}" for i in range(n)]
    return pd.DataFrame(
        {
            "dataset": "faces",
            "seed_id": names,
            "image_sha256": [f"hash {name}" for name in names],
            "concept_kind": "emotion",
            "concept": [CONCEPTS[i % 3] for i in range(n)],
        }
    )


def readings(
    run: str, n: int, seed: int, *, replicates: int = 2, unread: float = 0.15, same_baseline: bool = True
) -> pd.DataFrame:
    """At random, with abstention; the picture of round 0 is that of the seed, so every arm reads it alike."""
    generator, first = np.random.default_rng(seed), np.random.default_rng(1000)
    rows = []
    for i in range(n):
        for attribute, categories in CATEGORIES.items():
            shown = first.choice(categories), "ok" if first.random() > unread else "no_face"
            for replicate in range(replicates):
                for round_ in range(LAST + 1):
                    drawn = generator.choice(categories), "ok" if generator.random() > unread else "no_face"
                    label, status = shown if round_ == 0 and same_baseline else drawn
                    rows.append((run, f"s{i:03d}", replicate, round_, attribute, status, label if status == "ok" else None))
    return pd.DataFrame(rows, columns=["run", "seed_id", "replicate", "round", "attribute", "status", "label"])


def arm(
    run: str,
    n: int = 18,
    seed: int = 0,
    *,
    identity: str = "same",
    rows: pd.DataFrame | None = None,
    declared: Collection[tuple[str, str, int]] = (),
    **how: Any,
) -> Arm:
    rows = readings(run, n, seed, **how) if rows is None else rows
    read = ReadBy(instrument=INSTRUMENT, identity=identity, readings=rows)
    return Arm(run=run, seeds=seed_table(n), read_by=[read], declared=frozenset(declared))


def shares(one: Arm, attribute: str) -> pd.DataFrame:
    """Share of each (round, category) in the readings of each seed."""
    rows = only(one.read_by[0].readings, attribute=attribute, status="ok")
    cells = [rows["seed_id"], rows["round"], rows["label"]]
    return pd.crosstab(cells[:2], cells[2], normalize="index").reset_index().pivot_table(index="seed_id", columns="round")


Shares = tuple[pd.DataFrame, pd.DataFrame]


def naive(a: Arm, both: Shares, concept: str, category: str, round_: int, *, shift: bool) -> tuple[float, int]:
    """Seed by seed: mean over replicates in either arm, their difference, and the mean of that over seeds."""

    def told(one: pd.DataFrame) -> pd.Series[Any]:
        return one[(category, round_)] - (one[(category, 0)] if shift else 0)

    seeds = a.seeds.set_index("seed_id")["concept"]
    found = (told(both[0]) - told(both[1])).dropna()
    groups = found.groupby(seeds.reindex(found.index))
    if concept == "all_standardised":
        return groups.mean().mean(), len(found)
    part = found if concept == "all" else groups.get_group(concept)
    return part.mean(), len(part)


@pytest.mark.parametrize("same_baseline", [True, False])
def test_every_difference_is_the_naive_one(same_baseline: bool) -> None:
    a, b = arm("a", seed=1, same_baseline=same_baseline), arm("b", seed=2, replicates=3, same_baseline=same_baseline)
    table = differences(a, b, RULES)
    assert set(table["concept"]) == {"all", "all_standardised", *CONCEPTS}
    assert len(table) == 5 * 5 * 3 * 2  # groups × categories × rounds × quantities
    by_attribute = {attribute: (shares(a, attribute), shares(b, attribute)) for attribute in CATEGORIES}
    for row in table.to_dict("records"):
        where = (row["concept"], row["category"], row["round"])
        value, n = naive(a, by_attribute[row["attribute"]], *where, shift=row["quantity"] == "shift")
        assert row["value"] == pytest.approx(value, abs=1e-9)
        assert row["n_seeds"] == n
        if row["quantity"] == "share" or row["round"]:
            assert row["low"] < row["value"] < row["high"]


def test_one_minus_the_other_is_the_negative_of_the_other_minus_the_one() -> None:
    a, b = arm("a", seed=1), arm("b", seed=2)
    there, back = differences(a, b, RULES), differences(b, a, RULES)
    assert np.allclose(there["value"], -back["value"])
    assert np.allclose(there["low"], -back["high"], equal_nan=True)
    assert np.allclose(there["p_value"], back["p_value"], equal_nan=True)


def test_twins_do_not_differ() -> None:
    a = arm("a", seed=1)
    rows = a.read_by[0].readings.assign(run="twin")
    table = compared(arm("twin", rows=rows), a, RULES)
    assert (table["value"] == 0).all()
    tested = table.dropna(subset=["low"])
    assert (tested["low"] < 0).all()
    assert (tested["high"] > 0).all()
    assert (tested["p_value"] == 1).all()
    assert (table["test_p_value"].dropna() == 1).all()


def test_the_order_of_seeds_and_of_rows_is_irrelevant() -> None:
    a, b = arm("a", seed=1), arm("b", seed=2)
    mixed = replace(
        b,
        seeds=b.seeds.sample(frac=1, random_state=3),
        read_by=[replace(b.read_by[0], readings=b.read_by[0].readings.sample(frac=1, random_state=4))],
    )
    pd.testing.assert_frame_equal(differences(a, b, RULES), differences(a, mixed, RULES))


def test_one_replicate_and_two_categories_are_mcnemar() -> None:
    a, b = (arm(run, 60, seed, replicates=1, unread=0) for run, seed in (("a", 1), ("b", 2)))
    row = only(differences(a, b, RULES), concept="all", category="female", round=1, quantity="share").iloc[0]
    labels = [only(each.read_by[0].readings, attribute="gender", round=1).set_index("seed_id")["label"] for each in (a, b)]
    rises = ((labels[0] == "female") & (labels[1] == "male")).sum()
    falls = ((labels[0] == "male") & (labels[1] == "female")).sum()
    assert row["p_value"] == pytest.approx(float(mcnemar(rises, falls)))


def test_baselines_that_differ_allow_shifts_to_differ_by_two() -> None:
    """Everybody falls in one arm and rises in the other: 200 points, and the interval reaches them."""
    rows = []
    for i in range(30):
        for round_ in range(LAST + 1):
            rows += [("x", f"s{i:03d}", 0, round_, "gender", "ok", "female" if round_ else "male")]
            rows += [("x", f"s{i:03d}", 0, round_, "age", "ok", "40+")]
    up = pd.DataFrame(rows, columns=["run", "seed_id", "replicate", "round", "attribute", "status", "label"])
    down = up.assign(label=up["label"].replace({"female": "male", "male": "female"}))
    table = only(differences(arm("a", 30, rows=up), arm("b", 30, rows=down), RULES), concept="all", category="female", round=2)
    shift = only(table, quantity="shift").iloc[0]
    assert shift["value"] == 2
    assert 1.5 < shift["low"] < 2 == shift["high"]
    assert only(table, quantity="share").iloc[0]["value"] == 1


def test_one_seed_in_common_says_nothing_of_chance() -> None:
    a, b = arm("a", 6, unread=0), arm("b", 6, seed=1, unread=0)
    table = differences(a, replace(b, seeds=b.seeds.iloc[:1]), RULES)
    alone = only(table, concept="all")
    assert (alone["n_seeds"] == 1).all()
    assert alone["value"].notna().all()
    assert alone[["low", "high", "p_value", "test_p_value"]].isna().all(axis=None)


def test_only_seeds_of_both_count_and_the_same_name_for_another_picture_is_another_seed() -> None:
    a, b = arm("a", 24), arm("b", 18, seed=1)
    other = b.seeds.assign(image_sha256=b.seeds["image_sha256"].where(b.seeds.index >= 6, "another picture"))
    table = differences(a, replace(b, seeds=other), replace(RULES))
    assert table["n_seeds"].max() <= 12
    kept = b.seeds["seed_id"][6:]
    cut = replace(a, seeds=a.seeds[a.seeds["seed_id"].isin(kept)])
    pd.testing.assert_frame_equal(table, differences(cut, b, RULES))


@pytest.mark.parametrize("column", ["dataset", "image_sha256", "concept", "concept_kind"])
def test_runs_without_common_seeds_are_refused_by_name(column: str) -> None:
    a, b = arm("one"), arm("other")
    with pytest.raises(ConfigError, match="one and other have no seed in common"):
        differences(a, replace(b, seeds=b.seeds.assign(**{column: "else"})), RULES)


def test_another_instrument_is_refused_and_named() -> None:
    with pytest.raises(ConfigError, match=r"no instrument .* a by labels/vit-0; b by labels/vit-0"):
        differences(arm("a"), arm("b", identity="other threshold"), RULES)


def test_another_baseline_is_refused() -> None:
    b = arm("b")
    late = [replace(b.read_by[0], readings=b.read_by[0].readings.query("round > 0"))]
    with pytest.raises(ConfigError, match="no baseline in common"):
        differences(arm("a"), replace(b, read_by=late), RULES)


def test_a_label_that_nobody_declared_is_refused() -> None:
    rows = readings("b", 18, 0).replace({"label": {"40+": "ancient"}})
    with pytest.raises(ConfigError, match="ancient"):
        differences(arm("a"), arm("b", rows=rows), RULES)


def test_cohorts_are_the_unit_where_one_arm_couples_seeds() -> None:
    a, b = arm("a", 24, seed=1, unread=0, replicates=1), arm("b", 24, seed=2, unread=0, replicates=1)
    coupled = replace(b, seeds=b.seeds.assign(cohort=["left", "right"] * 12))
    plain, wide = (only(differences(a, each, RULES), concept="all", round=1, quantity="share") for each in (b, coupled))
    assert np.allclose(plain["value"], wide["value"])
    assert (wide["high"] - wide["low"]).mean() > 1.5 * (plain["high"] - plain["low"]).mean()
    other = replace(a, seeds=a.seeds.assign(cohort=["left"] * 12 + ["right"] * 12))
    with pytest.raises(ConfigError, match="cohorts"):
        differences(other, coupled, RULES)


DECLARED = [("vit", "gender", LAST), ("vit", "age", LAST)]


def test_confirmatory_are_gender_and_age_over_all_at_the_last_round_declared_in_both() -> None:
    a, b = arm("a", declared=DECLARED), arm("b", seed=1, declared=DECLARED)
    table = differences(a, b, RULES)
    family = only(table, family="confirmatory")
    assert set(family["concept"]) == {"all"}
    assert set(family["round"]) == {LAST}
    assert set(family["attribute"]) == {"gender", "age"}
    assert set(family["quantity"]) == {"shift"}
    for undeclared in (differences(a, arm("b", seed=1), RULES), differences(a, b, replace(RULES, min_seeds=19))):
        assert only(undeclared, family="confirmatory").empty


def test_holm_reaches_over_all_arms_and_counts_each_test_once() -> None:
    reference = arm("r", declared=DECLARED)
    arms = [arm(name, seed=i, declared=DECLARED) for i, name in enumerate("abc", start=1)]
    table = adjust_differences(pd.concat([differences(each, reference, RULES) for each in arms], ignore_index=True))
    family = only(table, family="confirmatory").drop_duplicates(["run", "attribute"]).set_index(["run", "attribute"])
    assert len(family) == 6
    assert family["test_p_adjusted"].to_dict() == pytest.approx(holm(family["test_p_value"].to_dict()))
    assert table.groupby(["run", "concept", "attribute", "round"])["test_p_adjusted"].nunique().max() == 1


@pytest.mark.slow
def test_intervals_cover_and_tests_hold_their_level() -> None:
    """Arms of 40 seeds × 2 replicates, drawn seed by seed from known chances; the truth is their mean difference."""
    trials, covered, rejected = 100, 0, 0
    for trial in range(trials):
        generator = np.random.default_rng(trial)
        likely = generator.beta(2, 2, size=40)
        higher, reference, alike = (_drawn(run, likely, gain, generator) for run, gain in (("a", 0.2), ("b", 0.0), ("c", 0.0)))
        apart, same = (_row(each, reference) for each in (higher, alike))
        covered += int(apart["low"] <= 0.2 * (1 - 0.5) <= apart["high"])
        rejected += int(same["p_value"] < 0.05)
    assert covered >= 90
    assert rejected <= 10


GENDER = replace(INSTRUMENT, categories={"gender": CATEGORIES["gender"]})


def _drawn(run: str, likely: NDArray[np.float64], gain: float, generator: np.random.Generator) -> Arm:
    """Round 0 as the seed is likely to be; each replicate of round 1 with a chance raised towards 1 by `gain`."""
    seeds = seed_table(len(likely)).assign(concept="joy")
    chance = np.stack([(likely > 0.5) * 1.0, likely + gain * (1 - likely)])
    rows = pd.DataFrame(
        [
            (run, name, replicate, round_, "gender", "ok", CATEGORIES["gender"][int(generator.random() >= chance[round_, i])])
            for i, name in enumerate(seeds["seed_id"])
            for replicate in range(2)
            for round_ in range(2)
        ],
        columns=["run", "seed_id", "replicate", "round", "attribute", "status", "label"],
    )
    return Arm(run=run, seeds=seeds, read_by=[ReadBy(instrument=GENDER, identity="same", readings=rows)])


def _row(one: Arm, reference: Arm) -> pd.Series[Any]:
    table = differences(one, reference, Rules(resamples=10))
    return only(table, concept="all", category="female", round=1, quantity="shift").iloc[0]


# Ages in years -------------------------------------------------------------------------------------------------------


def aged(run: str, seed: int, *, older: float = 0.0) -> Arm:
    """Ages beside the groups; at the baseline those of the seed's picture, later `older` years more than drawn."""
    rows, draws = readings(run, 18, seed), np.random.default_rng(seed)
    drawn = draws.uniform(20, 60, len(rows)) + older
    ages = (rows["seed_id"].str[1:].astype(int) + 20.0).where(rows["round"] == 0, drawn)
    known = (rows["attribute"] == "age") & (rows["status"] == "ok")
    return arm(run, rows=rows.assign(years=ages.where(known)))


def test_ages_differ_by_the_naive_difference_in_years() -> None:
    a, b = aged("a", 1, older=5), aged("b", 2)
    table = differences(a, b, RULES)
    years = table[table["quantity"].isin(["years", "years_shift"])]
    assert set(years["attribute"]) == {"age"}
    assert len(years) == 5 * 3 * 2  # groups × rounds × quantities
    rows = [only(each.read_by[0].readings, attribute="age") for each in (a, b)]
    ages = [each.pivot_table(index="seed_id", columns="round", values="years") for each in rows]
    for round_ in (1, 2):
        level = (ages[0][round_] - ages[1][round_]).dropna()
        row = one(years, concept="all", round=round_, quantity="years")
        assert (row["value"], row["n_seeds"]) == (pytest.approx(level.mean()), len(level))
        assert row["low"] < row["value"] < row["high"]
        shift = (ages[0][round_] - ages[0][0] - (ages[1][round_] - ages[1][0])).dropna()
        row = one(years, concept="all", round=round_, quantity="years_shift")
        assert (row["value"], row["n_seeds"]) == (pytest.approx(shift.mean()), len(shift))
    first = one(years, concept="all", round=0, quantity="years_shift")
    assert first["value"] == 0
    assert first[["low", "high", "p_value"]].isna().all()


def test_an_arm_without_years_is_compared_in_groups_alone() -> None:
    table = differences(aged("a", 1), arm("b", seed=2), RULES)
    assert set(table["quantity"]) == {"share", "shift"}


# What metrics offer --------------------------------------------------------------------------------------------------


def offering(one: Arm, rows: pd.DataFrame, *, settings: str = "same", code: str = "same", metric: str = "likeness") -> Arm:
    return replace(one, by_seed=rows.assign(metric=metric), metrics={metric: settings}, code=code)


def likeness(run: str, n: int, seed: int, *, instrument: str = "", scale: float = 0.5, unread: float = 0.2) -> pd.DataFrame:
    """Values by seed at rounds 1 and 2, some missing, as a metric makes them."""
    draws = np.random.default_rng(seed)
    values = draws.uniform(-0.2, 1, (n, 2, 1))
    values[draws.random(values.shape) < unread] = np.nan
    names, numbers = (pd.Index(each) for each in ([f"s{i:03d}" for i in range(n)], range(LAST + 1)))
    nothing = np.zeros((n, 1, LAST + 1), np.bool_)
    study = Study(run, "emotion", names, pd.Index([0]), numbers, 0, nothing, nothing, [])
    return seed_rows(study, values, quantity="to_seed", scale=scale, rounds=[1, 2], instrument=instrument)


def test_what_a_metric_offers_by_seed_is_compared_without_being_known() -> None:
    mine, other = likeness("a", 18, 5), likeness("b", 18, 6)
    table = differences(offering(arm("a", seed=1), mine), offering(arm("b", seed=2), other), RULES)
    found = only(table, metric="likeness")
    assert set(found["quantity"]) == {"to_seed"}
    assert len(found) == 5 * 2  # groups × rounds
    assert (found["baseline_round"] == 0).all()
    assert (found[["classifier", "instrument", "attribute", "category"]] == "").all(axis=None)
    for round_ in (1, 2):
        values = [only(each, round=round_).set_index("seed_id")["value"] for each in (mine, other)]
        difference = (values[0] - values[1]).dropna()
        row = one(found, concept="all", round=round_)
        assert (row["value"], row["n_seeds"]) == (pytest.approx(difference.mean()), len(difference))
        student = stats.ttest_1samp(difference, 0).confidence_interval()
        assert row["low"] <= student.low + 0.02
        assert row["high"] >= student.high - 0.02
    plain = differences(arm("a", seed=1), arm("b", seed=2), RULES)
    pd.testing.assert_frame_equal(table[table["metric"] == ""].reset_index(drop=True), plain)


def test_a_metric_that_nobody_differs_in_still_has_an_interval_of_its_own_scale() -> None:
    rows = likeness("a", 18, 5)
    widths = []
    for scale in (0.1, 1.0):
        a, b = (offering(arm(run), rows.assign(scale=scale)) for run in "ab")
        row = one(differences(a, b, RULES), metric="likeness", concept="all", round=1)
        assert (row["value"], row["p_value"]) == (0, 1)
        widths.append(row["high"] - row["low"])
    assert widths[0] > 0
    assert widths[1] == pytest.approx(10 * widths[0])


def test_what_depends_on_an_instrument_is_compared_where_that_is_the_same_whatever_its_folder() -> None:
    a = offering(arm("a"), likeness("a", 18, 5, instrument="labels/vit-0"))
    elsewhere = replace(INSTRUMENT, folder="labels/vit-9")
    b = arm("b", seed=2)
    b = replace(b, read_by=[replace(b.read_by[0], instrument=elsewhere)])
    b = offering(b, likeness("b", 18, 6, instrument="labels/vit-9"))
    found = only(differences(a, b, RULES), metric="likeness")
    assert len(found) == 5 * 2
    assert set(found["instrument"]) == {"labels/vit-0"}
    assert set(found["classifier"]) == {"vit"}
    other = offering(b, likeness("b", 18, 6, instrument="labels/nobody-0"))
    assert only(differences(a, other, RULES), metric="likeness").empty


def test_a_metric_with_other_settings_is_not_compared_and_that_is_told() -> None:
    a, b = (offering(arm(run), likeness(run, 18, 5)) for run in "ab")
    other = replace(b, metrics={"likeness": "another encoder"})
    assert only(differences(a, other, RULES), metric="likeness").empty
    assert remarks(a, b) == []
    assert remarks(a, other) == ["metric likeness is not compared: its settings were not the same in a and b"]
    assert remarks(a, arm("b")) == ["metric likeness is not compared: b was analysed without it"]
    assert remarks(a, replace(b, code="older")) == [
        "a and b were analysed by different versions of the code: analyse both again"
    ]


def test_instruments_and_rounds_of_one_run_alone_are_told() -> None:
    a, b = arm("a"), arm("b", seed=1)
    more = ReadBy(instrument=replace(INSTRUMENT, folder="labels/judge-1"), identity="other", readings=readings("b", 18, 3))
    assert remarks(a, replace(b, read_by=[*b.read_by, more])) == [
        "labels/judge-1 is not compared: it read b and not, with the same settings and locator, a"
    ]
    short = replace(a.read_by[0], readings=a.read_by[0].readings.query("round < 2"))
    assert remarks(replace(a, read_by=[short]), b) == ["later rounds are not compared: vit read a to round 1 and b to round 2"]


def test_a_replicate_that_one_arm_lacks_weighs_nothing() -> None:
    """Seeds count alike: the mean of three replicates stands against the one there is."""
    a, b = arm("a", seed=1, replicates=3, unread=0), arm("b", seed=2, replicates=1, unread=0)
    row = one(differences(a, b, RULES), concept="all", category="female", round=1, quantity="share")
    rates = [shares(each, "gender")[("female", 1)] for each in (a, b)]
    assert row["value"] == pytest.approx((rates[0] - rates[1]).mean())
    assert row["n_seeds"] == 18


def test_everything_new_is_exploratory_and_adjusted_within_its_quantity() -> None:
    a, b = (offering(aged(run, i), likeness(run, 18, i)) for i, run in enumerate("ab", start=5))
    table = compared(a, b, RULES)
    for quantity in ("years", "years_shift", "to_seed"):
        rows = only(table, quantity=quantity).dropna(subset=["p_value"])
        names = list(range(len(rows)))
        adjusted = benjamini_hochberg(dict(zip(names, rows["p_value"], strict=True)))
        assert rows["p_adjusted"].tolist() == pytest.approx(list(adjusted.values()))
        assert rows["family"].isna().all()
        assert rows["test_p_adjusted"].isna().all()
