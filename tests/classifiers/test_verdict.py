"""Bins of years at their edges, and what becomes of an unsure reading."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from driftloop.classifiers.verdict import category_of, checked_bins, checked_thresholds, verdict, verdict_in_years

BINS = checked_bins({"0-3": [0, 4], "4-19": [4, 20], "20-39": [20, 40], "40-69": [40, 70], "70+": [70, 123]})


@pytest.mark.parametrize(
    ("years", "category"),
    [
        (0, "0-3"), (3.999, "0-3"), (4, "4-19"), (19.5, "4-19"), (20.0, "20-39"), (39.99, "20-39"), (40, "40-69"),
        (69.999999, "40-69"), (70, "70+"), (122.9, "70+"),
    ],
)  # fmt: skip
def test_an_edge_belongs_to_the_bin_that_begins_there(years: float, category: str) -> None:
    assert category_of(years, BINS) == category


@pytest.mark.parametrize("years", [-0.001, 123, 1e9, math.nan, math.inf, -math.inf])
def test_an_age_outside_all_bins_is_an_error_and_a_failed_reading(years: float) -> None:
    with pytest.raises(ValueError, match="outside the bins"):
        category_of(years, BINS)
    reading = verdict_in_years("age", years, BINS)
    assert (reading.status, reading.label) == ("failed", None)
    assert reading.years is years


@given(some.floats(0, 122.999))
def test_bins_are_what_numpy_says(years: float) -> None:
    assert category_of(years, BINS) == list(BINS)[int(np.digitize(years, [4, 20, 40, 70]))]


@pytest.mark.parametrize(
    ("bins", "word"),
    [
        ({}, r"\[from, to\)"),
        ({"a": [3, 3]}, r"\[from, to\)"),
        ({"a": [3]}, r"\[from, to\)"),
        ({"a": [0, 4], "b": [5, 9]}, "ends at 4 and the next begins at 5"),
        ({"a": [0, 4], "b": [3, 9]}, "ends at 4 and the next begins at 3"),
        ({"b": [4, 9], "a": [0, 4]}, "must follow each other"),
    ],
)
def test_bins_with_gaps_overlaps_or_no_width_are_refused(bins: dict[str, list[float]], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        checked_bins(bins)


def test_the_best_category_is_read_if_it_is_sure_enough() -> None:
    shares = {"female": 0.3, "male": 0.7}
    assert verdict("gender", shares, 0.7).label == "male"
    low = verdict("gender", shares, 0.70001)
    assert (low.status, low.label, low.probability, low.probabilities) == ("low_confidence", None, 0.7, (0.3, 0.7))


def test_a_threshold_of_zero_is_a_threshold() -> None:
    assert checked_thresholds(0.0, ["a"]) == checked_thresholds(None, ["a"]) == {"a": 0.0}
    assert checked_thresholds({"b": 0.5}, ["a", "b"]) == {"a": 0.0, "b": 0.5}
