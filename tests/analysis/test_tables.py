"""The analysis as plain functions on tables: against the naive definition, at the edges, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftloop.analysis.families import adjust_tests
from driftloop.analysis.study import Extent
from driftloop.analysis.tables import analyse_tables
from rows import one, only

CATEGORIES = {"vit": {"gender": ["female", "male"], "age": ["0-19", "20-39", "40+"]}}
GENDER = {"vit": {"gender": ["female", "male"]}}
CONCEPTS = ["anger", "joy", "fear"]


def row(seed, round_, label, *, replicate=0, attribute="gender", status="ok"):
    return {
        "run": "r",
        "seed_id": seed,
        "replicate": replicate,
        "chain": f"{seed}/{replicate}",
        "round": round_,
        "classifier": "vit",
        "attribute": attribute,
        "status": status,
        "label": label if status == "ok" else None,
    }


def read(rows):
    return pd.DataFrame(rows, columns=list(row("", 0, "")))


def seed_table(names, concepts=CONCEPTS, **columns):
    concept = [concepts[i % len(concepts)] for i in range(len(names))]
    return pd.DataFrame({"seed_id": names, "concept_kind": "emotion", "concept": concept, **columns})


def made_up(n_seeds=30, rounds=3, replicates=2, seed=0, unread=0.2):
    """Readings of all attributes at random, with abstention; replicates share the reading of round 0."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(n_seeds):
        for attribute, categories in CATEGORIES["vit"].items():
            first = generator.choice(categories)
            for replicate in range(replicates):
                for r in range(rounds):
                    label = generator.choice(categories) if r else first
                    status = "no_face" if generator.random() < unread else "ok"
                    rows.append(row(f"s{i:03d}", r, label, replicate=replicate, attribute=attribute, status=status))
    return read(rows), seed_table([f"s{i:03d}" for i in range(n_seeds)])


def analysed(readings, seeds, **settings):
    settings = {"categories": CATEGORIES, "baseline_round": 0, "root_seed": 7, "resamples": 50} | settings
    return analyse_tables(readings, seeds, **settings)


def naive_shares(readings, seeds, concept, attribute, category, round_):
    """Mean over replicates, then over seeds, then over concepts where they are weighted alike."""
    part = only(readings, attribute=attribute, round=round_, status="ok")
    part = part.merge(seeds[["seed_id", "concept"]])
    by_seed = part.assign(hit=part["label"] == category).groupby(["concept", "seed_id"])["hit"].mean()
    if concept == "all":
        return by_seed.mean(), by_seed
    if concept == "all_standardised":
        return by_seed.groupby("concept").mean().mean(), by_seed
    return by_seed.loc[concept].mean(), by_seed


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_shares_shifts_and_their_numbers_are_the_naive_ones(seed):
    readings, seeds = made_up(seed=seed)
    drift = analysed(readings, seeds, resamples=10)["drift"]
    assert len(drift) == 5 * 5 * 3  # groups × categories × rounds
    for concept in ("all", "all_standardised", "joy"):
        for round_ in (0, 1, 2):
            found = one(drift, concept=concept, attribute="age", category="20-39", round=round_)
            share, by_seed = naive_shares(readings, seeds, concept, "age", "20-39", round_)
            assert found["share"] == pytest.approx(share)
            _, before = naive_shares(readings, seeds, concept, "age", "20-39", 0)
            shift = (by_seed - before).dropna()
            own = {"joy": shift[shift.index.get_level_values("concept") == "joy"]}.get(concept, shift)
            mean = own.groupby("concept").mean().mean() if concept == "all_standardised" else own.mean()
            assert found["shift"] == pytest.approx(mean, abs=1e-9)
            assert found["n_pairs"] == len(own)


def test_coverage_counts_every_expected_reading():
    readings, seeds = made_up()
    tables = analysed(readings, seeds)
    found = one(tables["coverage"], concept="joy", attribute="age", category="40+", round=1)
    part = only(readings, attribute="age", round=1).merge(only(seeds, concept="joy")[["seed_id"]])
    assert found["n_expected"] == len(part) == 20
    assert found["n_ok"] == (part["status"] == "ok").sum()
    assert found["n_no_face"] == (part["status"] == "no_face").sum()
    assert found["coverage"] == found["n_ok"] / 20
    drift = one(tables["drift"], concept="joy", attribute="age", category="40+", round=1)
    assert drift["coverage"] == found["coverage"]
    assert found["share_at_least"] <= drift["share"] <= found["share_at_most"]


def test_manski_bounds_hold_whatever_the_unread_were():
    readings, seeds = made_up(unread=0.3)
    bounds = analysed(readings, seeds)["coverage"]
    for category in ("female", "male"):
        filled = readings.assign(label=readings["label"].fillna(category), status="ok")
        drift = analysed(only(filled, attribute="gender"), seeds, categories=GENDER)
        for round_ in (0, 1, 2):
            most = one(bounds, concept="all", attribute="gender", category=category, round=round_)["share_at_most"]
            share = one(drift["drift"], concept="all", category=category, round=round_)["share"]
            assert share == pytest.approx(most)


def test_one_reading_a_seed_gives_the_exact_methods():
    later = ["male"] * 9 + ["female"] * 31
    rows = [row(f"s{i}", r, "female" if r == 0 else later[i]) for i in range(40) for r in range(2)]
    tables = analysed(read(rows), seed_table([f"s{i}" for i in range(40)]), categories=GENDER)
    found = one(tables["drift"], concept="all", category="male", round=1)
    exact = stats.binomtest(9, 40).proportion_ci(method="exact")
    assert (found["share_low"], found["share_high"]) == pytest.approx((exact.low, exact.high))
    assert found["p_value"] == pytest.approx(2 * 0.5**9 - 0.5**9)
    test = one(tables["tests"], concept="all", attribute="gender", round=1)
    assert (test["test"], test["n_discordant"], test["p_value"]) == ("mcnemar_midp", 9, found["p_value"])
    moved = one(tables["distances"], concept="all", attribute="gender", distance="total_variation")
    assert moved["value"] == pytest.approx(9 / 40)
    assert 0 < moved["low"] < moved["value"] < moved["high"] < 1


def test_baseline_rows_have_no_shift_to_be_unsure_of():
    found = only(analysed(*made_up())["drift"], round=0)
    assert (found["shift"] == 0).all()
    assert found[["shift_low", "shift_high", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert found[["share_low", "share_high"]].notna().all(axis=None)


def test_order_of_rows_does_not_matter():
    readings, seeds = made_up()
    forward = analysed(readings, seeds)
    backward = analysed(readings.sample(frac=1, random_state=1), seeds[::-1])
    for name, table in forward.items():
        pd.testing.assert_frame_equal(table, backward[name])


def test_other_attributes_and_the_root_seed():
    readings, seeds = made_up()
    both = analysed(readings, seeds)["distances"]
    alone = analysed(only(readings, attribute="age"), seeds, categories={"vit": {"age": CATEGORIES["vit"]["age"]}})
    pd.testing.assert_frame_equal(only(both, attribute="age").reset_index(drop=True), alone["distances"])
    assert (analysed(readings, seeds, root_seed=8)["distances"]["null_mean"] != both["null_mean"]).any()


def test_text_seeded_chains_start_at_round_1():
    readings, seeds = made_up()
    readings = readings[readings["round"] > 0]
    tables = analysed(readings, seeds, baseline_round=1)
    assert set(tables["drift"]["round"]) == {1, 2}
    assert set(tables["tests"]["round"]) == {2}
    assert (only(tables["drift"], round=1)["shift"] == 0).all()
    with pytest.raises(ValueError, match="baseline round 0"):
        analysed(readings, seeds)


def test_chains_without_an_image_count_as_expected():
    readings, seeds = made_up(n_seeds=12)
    expected = readings[["seed_id", "replicate", "round"]].drop_duplicates().assign(status="ok")
    lost = (expected["seed_id"] == "s001") & (expected["round"] == 2)
    expected.loc[lost, "status"] = "parent_failed"
    gone = (readings["seed_id"] == "s001") & (readings["round"] == 2)
    found = analysed(readings[~gone], seeds, expected=expected)["coverage"]
    last = one(found, concept="all", attribute="age", category="40+", round=2)
    assert (last["n_expected"], last["n_no_image"]) == (24, 2)
    with pytest.raises(ValueError, match="2 readings missing"):
        analysed(readings[~gone], seeds, expected=expected.assign(status="ok"))


def test_only_the_baseline_has_no_tests_and_no_distances():
    readings, seeds = made_up(rounds=1)
    tables = analysed(readings, seeds)
    assert len(tables["tests"]) == len(tables["distances"]) == 0
    assert {"p_adjusted", "family"} <= set(tables["tests"].columns)
    assert len(tables["drift"]) == 25


def test_one_seed_says_its_share_and_no_more():
    tables = analysed(*made_up(n_seeds=1, unread=0))
    drift = tables["drift"]
    assert drift["share"].notna().all()
    assert drift[["share_low", "share_high", "shift_low", "shift_high", "p_value"]].isna().all(axis=None)
    assert tables["tests"]["p_value"].isna().all()
    assert tables["distances"]["value"].notna().all()
    assert tables["distances"][["low", "high", "null_mean", "null_low", "null_high", "p_value"]].isna().all(axis=None)
    assert (tables["coverage"]["coverage"] == 1).all()


def test_all_abstain():
    tables = analysed(*made_up(unread=1.1))
    assert (tables["drift"]["n_seeds"] == 0).all()
    assert tables["drift"][["share", "share_low", "p_value"]].isna().all(axis=None)
    assert (tables["drift"]["coverage"] == 0).all()
    assert (tables["coverage"]["share_at_least"] == 0).all()
    assert (tables["coverage"]["share_at_most"] == 1).all()
    assert tables["distances"]["value"].isna().all()


def test_a_concept_nobody_was_read_in_leaves_the_standardised_share_unknown():
    readings, seeds = made_up(unread=0)
    joy = readings["seed_id"].isin(only(seeds, concept="joy")["seed_id"]) & (readings["round"] == 2)
    readings.loc[joy, ["status", "label"]] = ["no_face", None]
    drift = only(analysed(readings, seeds)["drift"], round=2)
    assert only(drift, concept="all_standardised")["share"].isna().all()
    assert only(drift, concept="all")["share"].notna().all()


def test_empty_categories_are_kept_and_cost_no_degree_of_freedom():
    rows = [
        row(f"s{i}", r, ["0-19", "20-39"][i % 2 if r == 0 else i % 3 % 2], attribute="age") for i in range(30) for r in range(2)
    ]
    categories = {"vit": {"age": ["0-19", "20-39", "40+", "never"]}}
    tables = analysed(read(rows), seed_table([f"s{i}" for i in range(30)]), categories=categories)
    never = one(tables["drift"], concept="all", category="never", round=1)
    assert (never["share"], never["shift"], never["p_value"]) == (0, 0, 1)
    assert 0 < never["share_high"] < 0.2
    assert one(tables["tests"], concept="all")["test"] == "mcnemar_midp"


def test_everyone_in_one_category_at_both_rounds():
    rows = [row(f"s{i}", r, "male") for i in range(20) for r in range(2)]
    tables = analysed(read(rows), seed_table([f"s{i}" for i in range(20)]), categories=GENDER)
    found = one(tables["drift"], concept="all", category="male", round=1)
    assert (found["share"], found["shift"], found["share_high"]) == (1, 0, 1)
    assert found["share_low"] < 0.9
    assert found["shift_low"] < 0 < found["shift_high"]
    assert (one(tables["tests"], concept="all", attribute="gender")["p_value"]) == 1
    assert only(tables["distances"], concept="all", attribute="gender")["high"].gt(0).all()


def test_one_concept_is_everybody():
    readings, seeds = made_up(n_seeds=20)
    tables = analysed(readings, seeds.assign(concept="joy"))
    numbers = ["n_seeds", "n_pairs", "coverage", "share", "shift"]
    groups = [only(tables["drift"], concept=name).reset_index(drop=True) for name in ("all", "all_standardised", "joy")]
    for other in groups[1:]:
        pd.testing.assert_frame_equal(groups[0][numbers], other[numbers])
    limits = ["share_low", "share_high", "shift_low", "shift_high"]
    pd.testing.assert_frame_equal(groups[0][limits], groups[1][limits])


@pytest.mark.parametrize(("first", "last"), [("female", "male"), ("male", "female")])
def test_a_category_absent_at_one_round_is_a_share_of_zero_with_a_width(first, last):
    """Everybody is of one category at the baseline and of the other later: 0 to 100 %, and back."""
    rows = [row(f"s{i:02d}", r, last if r else first) for i in range(30) for r in range(2)]
    tables = analysed(read(rows), seed_table([f"s{i:02d}" for i in range(30)]), categories=GENDER)
    gone = one(tables["drift"], concept="all", category=first, round=1)
    assert (gone["share"], gone["share_low"], gone["shift"]) == (0, 0, -1)
    assert 0.05 < gone["share_high"] < 0.2
    assert gone["shift_low"] == -1
    assert -1 < gone["shift_high"] < -0.7
    assert gone["p_value"] < 1e-6
    lows = []
    for distance in ("total_variation", "jensen_shannon", "jensen_shannon_root", "hellinger"):
        moved = one(tables["distances"], concept="all", distance=distance)
        assert moved["value"] == pytest.approx(1)
        assert moved["low"] <= moved["high"] == pytest.approx(1)
        lows.append(moved["low"])
    assert lows[0] > 0.5  # roots are steep at 0: an empty category may have had a share
    assert min(lows) > 0.1
    assert one(tables["tests"], concept="all")["n_discordant"] == 30


def test_an_instrument_keeps_its_own_bins_whatever_the_data_set_s():
    """Human labels of other cuts stand beside the seeds and are never mixed in; instruments of unlike bins neither."""
    readings, seeds = made_up(n_seeds=20, unread=0)
    labelled = seeds.assign(label_age=["0-3", "4-19", "20-39", "40-69", "70+"] * 4)
    finer = only(readings, attribute="age").assign(classifier="decades")
    finer["label"] = finer["label"].map({"0-19": "10s", "20-39": "30s", "40+": "70s"})
    bins = {"decades": {"age": [f"{low}s" for low in range(0, 80, 10)]}}
    tables = analysed(pd.concat([readings, finer]), labelled, categories=CATEGORIES | bins)
    assert set(only(tables["drift"], classifier="vit", attribute="age")["category"]) == set(CATEGORIES["vit"]["age"])
    assert set(only(tables["drift"], classifier="decades")["category"]) == set(bins["decades"]["age"])
    pd.testing.assert_frame_equal(
        only(tables["drift"], classifier="vit").drop(columns="p_adjusted").reset_index(drop=True),
        analysed(readings, seeds)["drift"].drop(columns="p_adjusted"),
    )
    coarse = one(tables["distances"], classifier="vit", attribute="age", concept="all", round=2, distance="total_variation")
    fine = one(tables["distances"], classifier="decades", concept="all", round=2, distance="total_variation")
    assert fine["value"] == pytest.approx(coarse["value"])
    with pytest.raises(ValueError, match="10s"):
        analysed(finer.assign(classifier="vit"), seeds, categories={"vit": {"age": CATEGORIES["vit"]["age"]}})


def test_a_replicate_that_is_missing_does_not_weigh_its_seed_down():
    """One replicate unread: the seed counts as its other replicate reads, as heavy as any seed."""
    later = {"a": ["male", "female"], "b": ["male", "male"], "c": ["female", "female"]}
    rows = [row(s, 0, "female", replicate=k) for s in later for k in range(2)]
    rows += [row(s, 1, label, replicate=k) for s, labels in later.items() for k, label in enumerate(labels)]
    rows[-3]["status"], rows[-3]["label"] = "no_face", None  # b/1
    tables = analysed(read(rows), seed_table(list(later)), categories=GENDER)
    found = one(tables["drift"], concept="all", category="male", round=1)
    assert (found["share"], found["n_seeds"], found["coverage"]) == (pytest.approx(0.5), 3, pytest.approx(5 / 6))


def test_missing_replicates_and_unequal_rounds_are_fine_when_nobody_expected_them():
    readings, seeds = made_up(n_seeds=12, unread=0)
    fewer = readings[~((readings["seed_id"] == "s002") & (readings["replicate"] == 1))]
    fewer = fewer[~((fewer["seed_id"] == "s003") & (fewer["round"] == 2))]
    tables = analysed(fewer, seeds)
    last = one(tables["drift"], concept="all", attribute="age", category="40+", round=2)
    assert (last["n_seeds"], last["n_pairs"], last["coverage"]) == (11, 11, 1)
    first = one(tables["coverage"], concept="all", attribute="age", category="40+", round=0)
    assert first["n_expected"] == 23


def test_cohorts_are_the_unit():
    readings, seeds = made_up(n_seeds=60, unread=0, replicates=1)
    alone = analysed(readings, seeds)["drift"]
    together = analysed(readings, seeds.assign(cohort=np.arange(60) // 20))["drift"]
    assert together["share"].to_numpy() == pytest.approx(alone["share"].to_numpy())
    assert not np.allclose(only(together, concept="all")["share_high"], only(alone, concept="all")["share_high"])
    whole = analysed(readings, seeds.assign(cohort=0))["drift"]
    assert whole["share_low"].isna().all()


def test_confirmatory_only_at_the_declared_extent():
    readings, seeds = made_up(n_seeds=30)
    declared = analysed(readings, seeds, confirmatory=Extent(rounds=2, replicates=2, seeds=30))["tests"]
    confirmed = only(declared, family="confirmatory")
    assert set(confirmed["attribute"]) == {"gender", "age"}
    assert set(confirmed["concept"]) == {"all"}
    assert set(confirmed["round"]) == {2}
    p = sorted(confirmed["p_value"])
    assert sorted(confirmed["p_adjusted"]) == pytest.approx([min(2 * p[0], 1), max(min(2 * p[0], 1), p[1])])
    for other in (None, Extent(rounds=3), Extent(replicates=1), Extent(rounds=2, seeds=29)):
        tests = analysed(readings, seeds, confirmatory=other)["tests"]
        assert (tests["family"] == "exploratory").all()
    early = analysed(readings, seeds, rounds=[0, 1], confirmatory=Extent(rounds=2))["tests"]
    assert (early["family"] == "exploratory").all()


def test_too_few_seeds_confirm_nothing():
    readings, seeds = made_up(n_seeds=30)
    for least, family in ((25, "confirmatory"), (31, "exploratory")):
        tests = analysed(readings, seeds, confirmatory=Extent(), min_seeds=least)["tests"]
        everyone = only(tests, concept="all", round=2)
        assert set(everyone["family"]) == {family}
        assert (everyone["enough_seeds"] == (family == "confirmatory")).all()
        assert not only(tests, concept="joy")["enough_seeds"].any()


def test_families_reach_across_runs_and_go_by_name():
    tests = analysed(*made_up(), confirmatory=Extent())["tests"]
    twice = pd.concat([tests, tests.assign(run="other")], ignore_index=True)
    across = adjust_tests(twice)
    shuffled = adjust_tests(twice.sample(frac=1, random_state=0)).sort_index()
    pd.testing.assert_frame_equal(across, shuffled)
    one_run = only(tests, family="confirmatory")["p_adjusted"].min()
    assert only(across, family="confirmatory")["p_adjusted"].min() == pytest.approx(min(2 * one_run, 1))
    with pytest.raises(ValueError, match="one name"):
        adjust_tests(pd.concat([tests, tests], ignore_index=True))


def broken(change):
    readings, seeds = made_up(n_seeds=6)
    return change(readings, seeds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, s: (r.drop(r[(r["attribute"] == "age")].index[:1]), s), "1 readings missing"),
        (lambda r, s: (pd.concat([r, r.iloc[:1]]), s), "1 readings doubled"),
        (lambda r, s: (r.assign(status=r["status"].replace("no_face", "asleep")), s), "asleep"),
        (lambda r, s: (r.assign(label=r["label"].replace("male", "man")), s), "man"),
        (lambda r, s: (r.assign(label=None), s), "None"),
        (lambda r, s: (r.assign(classifier="other"), s), "other"),
        (lambda r, s: (r.assign(run=np.where(r["round"] == 0, "a", "b")), s), "one run"),
        (lambda r, s: (r, s.iloc[1:]), "s000"),
        (lambda r, s: (r, pd.concat([s, s])), "twice"),
    ],
)
def test_refuses(change, message):
    readings, seeds = broken(change)
    with pytest.raises(ValueError, match=message):
        analysed(readings, seeds)


def test_a_reading_nobody_expected_is_refused():
    readings, seeds = made_up(n_seeds=6)
    expected = readings[["seed_id", "replicate", "round"]].drop_duplicates().assign(status="ok")
    with pytest.raises(ValueError, match="unexpected"):
        analysed(readings, seeds, expected=expected[~((expected["seed_id"] == "s001") & (expected["round"] == 1))])
    with pytest.raises(ValueError, match="twice"):
        analysed(readings, seeds, expected=pd.concat([expected, expected.iloc[:1]]))
