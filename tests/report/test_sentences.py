"""The sentences of a report, word by word."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest

from driftloop.report import words
from driftloop.report.sections import closed_form, published
from driftloop.report.words import Apart, Change

WOMEN = Change(
    attribute="gender",
    category="female",
    baseline_round=0,
    round=5,
    first=0.5,
    last=0.713,
    shift=0.2134,
    low=0.14,
    high=0.281,
    n_first=96,
    n_last=96,
    n_pairs=96,
)
ADULTS = replace(WOMEN, attribute="age", category="20-39", first=0.3, last=0.452, shift=0.152, low=0.08, high=0.22)
CLEAR = words.Tested(name="stuart_maxwell", p_value=0.0004, p_adjusted=0.0008, family="confirmatory")
CHANCE = replace(CLEAR, p_value=0.34, p_adjusted=0.34)


def test_a_shift_is_told_with_its_interval_and_its_seeds() -> None:
    assert words.two_answer(WOMEN, 0.95) == (
        "Perceived women went from 50.0 % to 71.3 % of readings in 5 rounds: a shift of +21.3 points "
        "(95 % interval +14.0 to +28.1; 96 seeds read at both ends)."
    )


def test_an_interval_over_0_is_no_shift() -> None:
    change = replace(WOMEN, last=0.521, shift=0.021, low=-0.03, high=0.072, round=1, n_pairs=1234)
    assert words.two_answer(change, 0.9) == (
        "Perceived women went from 50.0 % to 52.1 % of readings in 1 round: no shift can be told apart from chance "
        "(+2.1 points, 90 % interval −3.0 to +7.2; 1,234 seeds read at both ends)."
    )


def test_labels_of_people_are_told_with_what_was_labelled() -> None:
    change = replace(WOMEN, first=0.463, last=0.475, shift=0.012, low=-0.054, high=0.077, n_first=300, n_last=298, audited=True)
    assert words.two_answer(change, 0.95) == (
        "Perceived women went from 46.3 % to 47.5 % in 5 rounds, as people label the pictures: no shift can be told apart from "
        "chance (+1.2 points, 95 % interval −5.4 to +7.7; people labelled 300 pictures of round 0 and 298 of round 5)."
    )
    assert "Read by the instrument alone (raw), perceived women went from 50.0 % to 71.3 %: a shift of +21.3 points" in (
        words.why_audited("gender", WOMEN, 0.95)
    )
    assert words.footing(change) == ""


def test_labels_of_people_over_several_categories() -> None:
    moved = replace(ADULTS, audited=True, n_first=300, n_last=300)
    assert words.audited_answer(moved, 0.95).startswith(
        "As people label the pictures, perceived age shifted in 5 rounds: 20-39 moved most, from 30.0 % to 45.2 %, a shift of"
    )
    still = replace(moved, shift=0.01, low=-0.02, high=0.04)
    assert "no shift of a group of perceived age can be told apart from chance in 5 rounds: the largest is that of 20-39" in (
        words.audited_answer(still, 0.95)
    )


def test_a_fall_and_a_chain_seeded_by_text() -> None:
    change = replace(WOMEN, category="Man", baseline_round=1, last=0.3, shift=-0.2, low=-0.3, high=-0.1)
    assert words.two_answer(change, 0.95) == (
        "Perceived men went from 50.0 % to 30.0 % of readings in 4 rounds (from round 1, the first picture, to round 5): "
        "a shift of −20.0 points (95 % interval −30.0 to −10.0; 96 seeds read at both ends)."
    )


def test_too_few_seeds_have_no_interval() -> None:
    change = replace(WOMEN, first=1.0, last=0.0, shift=-1.0, low=nan, high=nan, n_pairs=1)
    assert words.two_answer(change, 0.95) == (
        "Perceived women went from 100.0 % to 0.0 % of readings in 5 rounds: a difference of −100.0 points on 1 seed "
        "read at both ends, too few for an interval."
    )


def test_no_pair_at_all() -> None:
    unread = replace(WOMEN, first=nan, last=nan, shift=nan, low=nan, high=nan, n_pairs=0)
    told = "No seed was read for perceived gender at both ends, so nothing can be said about its drift."
    assert words.two_answer(unread, 0.95) == told
    assert words.many_answer(unread, None, 0.95) == told


def test_several_categories_name_the_one_that_moved_most() -> None:
    assert words.many_answer(ADULTS, CLEAR, 0.95) == (
        "Perceived age shifted in 5 rounds (p < 0.001): 20-39 moved most, from 30.0 % to 45.2 % of readings, "
        "a shift of +15.2 points (95 % interval +8.0 to +22.0; 96 seeds read at both ends)."
    )


def test_several_categories_without_a_shift() -> None:
    assert words.many_answer(ADULTS, CHANCE, 0.95) == (
        "No shift of perceived age can be told apart from chance in 5 rounds (p = 0.340)."
    )


@pytest.mark.parametrize("tested", [None, replace(CLEAR, p_value=nan)])
def test_several_categories_untested(tested: words.Tested | None) -> None:
    assert words.many_answer(ADULTS, tested, 0.95) == (
        "Whether perceived age shifted in 5 rounds cannot be tested on 96 seeds read at both ends."
    )


def test_a_distance_is_told_beside_what_chance_gives() -> None:
    apart = Apart(value=0.214, low=0.15, high=0.3, null_low=0.04, null_high=0.12)
    assert words.distance(ADULTS, apart, 0.95) == (
        "Round 0 and round 5 are 0.21 apart (total variation, 95 % interval 0.15 to 0.30), "
        "where chance alone gives 0.04 to 0.12."
    )
    assert words.distance(ADULTS, replace(apart, low=nan), 0.95) == "Round 0 and round 5 are 0.21 apart (total variation)."


def test_shares_over_other_seeds_than_the_shift_are_explained() -> None:
    assert words.footing(WOMEN) == ""
    assert words.footing(replace(WOMEN, n_first=100, n_last=97)) == (
        "The shares are over the seeds read at each end (100 and 97), the shift over the 96 read at both."
    )


def test_a_test_that_does_not_survive_its_family_says_so() -> None:
    tested = words.Tested(name="mcnemar_midp", p_value=0.03, p_adjusted=0.06, family="confirmatory")
    assert words.test_line(tested, 0.95) == (
        "Confirmatory: p = 0.030 (mid-p McNemar test), p = 0.060 after Holm. It does not survive the correction."
    )
    assert words.test_line(replace(tested, family="exploratory", p_adjusted=0.04), 0.95) == (
        "Exploratory: p = 0.030 (mid-p McNemar test), p = 0.040 after Benjamini–Hochberg."
    )


def test_the_planted_truth_is_inside_or_outside() -> None:
    assert words.planted_line("perceived women", 5, 0.724, 0.66, 0.76) == (
        "Expected from what these models were made to do: perceived women 72.4 % at round 5, inside the interval of the "
        "measured share (66.0 % to 76.0 %)."
    )
    assert "outside" in words.planted_line("perceived women", 5, 0.8, 0.66, 0.76)
    assert words.planted_line("perceived women", 5, 0.8, nan, nan).endswith("80.0 % at round 5.")


def test_instruments_that_disagree_are_named() -> None:
    assert words.agreement("age", ["a"], ["b"]) == "Only a finds a shift of perceived age; b does not."
    assert words.agreement("age", ["a", "b"], []) == "All 2 instruments find a shift of perceived age."
    assert words.agreement("age", [], ["a", "b", "c"]) == "None of the 3 instruments finds a shift of perceived age."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dataset.root=/data/sets/RAF-DB rounds=5", "dataset.root=…/RAF-DB rounds=5"),
        ("unreadable /home/me/a.jpg: truncated", "unreadable …/a.jpg: truncated"),
        (r"C:\Users\me\faces failed", "…/faces failed"),
        ("stabilityai/sdxl at 1/2, and/or </b>", "stabilityai/sdxl at 1/2, and/or </b>"),
    ],
)
def test_absolute_paths_lose_their_folders(text: str, told: str) -> None:
    assert words.without_paths(text) == told


@pytest.mark.parametrize(("shift", "told"), [(0.0, "0.0"), (-0.0001, "0.0"), (0.0996, "+10.0"), (-0.5, "−50.0")])
def test_points_are_signed(shift: float, told: str) -> None:
    assert words.points(shift) == told


def test_women_are_told_where_there_are() -> None:
    assert words.told_of_two(["male", "Woman"]) == "Woman"
    assert words.told_of_two(["young", "old"]) == "young"
    assert words.subject("age", "20-39") == "Perceived age 20-39"


def test_the_study_s_way_is_the_sum_of_its_parts_and_not_drift() -> None:
    parts = {
        "way": words.Estimate(value=-0.205, low=-0.33, high=-0.07),
        "annotator": words.Estimate(value=-0.205, low=nan, high=nan),
        "drift": words.Estimate(value=0.0, low=-0.02, high=0.02),
    }
    assert published.published_way("Perceived women", "vit", 1, 78, **parts, level=0.95) == (
        "Not drift: with human labels for the seeds and vit for round 1, as the study has it, perceived women would seem to "
        "move by −20.5 points (95 % interval −33.0 to −7.0). Of that, −20.5 points is the change of annotator: what the "
        "classifier and people make of the very same seeds. The drift by one annotator is 0.0 points "
        "(95 % interval −2.0 to +2.0). All over the 78 seeds with a label and a reading at both ends."
    )
    unknown = dict.fromkeys(parts, words.Estimate(value=nan, low=nan, high=nan))
    assert "Too few seeds" in published.published_way("Perceived women", "vit", 1, 3, **unknown, level=0.95)


def test_what_does_not_stand_beside_the_study_is_named() -> None:
    assert published.published_note({}, 0.9, beside=True) == "In brackets: 90 % interval over seeds."
    told = published.published_note(
        {"vit reads ages as young, old": [], "no seed of this run shows it": ["fear", "anger"]}, 0.95, beside=True
    )
    assert told.endswith("some rows (vit reads ages as young, old; fear and anger: no seed of this run shows it).")
    nobody = published.published_note({"no classifier reads it": []}, 0.95, beside=False)
    assert nobody == "This run has nothing to put beside it: no classifier reads it."
    assert published.published_title("skintone", "", beside=False) == "Perceived skin tone: the study alone."


def test_the_closed_form_is_told_with_its_p_value_and_its_power() -> None:
    powers = {"omission 0.1": 0.987, "omission 0.3": nan, "prior off by 0.1": 1.0}
    assert closed_form.told(0.34, {"gender": 0.2, "age": 0.0004}, powers, 400, 0.95) == (
        "Taken over all rounds at once, no departure is found from what these models were made to do (p = 0.340, 400 seeds; "
        "gender alone p = 0.200; age alone p < 0.001). Had they been otherwise, as many seeds would tell: omission 0.1 in "
        "98.7 % and prior off by 0.1 in 100.0 % of such runs."
    )
    assert "it departs from what" in closed_form.told(0.01, {}, {}, 400, 0.95)
    assert "cannot be tested on 3 seeds" in closed_form.told(nan, {}, {}, 3, 0.95)
