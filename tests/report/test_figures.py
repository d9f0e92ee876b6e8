"""Figures: the same data give the same bytes, and names from data sets are only names."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from driftloop.report import figures
from driftloop.report.tables import BAND

LAYOUT = figures.Layout(5, 1.5, 2)


def frame(*panels: str, value: float = 0.4) -> pd.DataFrame:
    rows = [
        (panel, "female", round_, value, value - 0.1, value + 0.1, role)
        for panel in panels
        for role in ("null", "context", "data", "planted")
        for round_ in range(4)
    ]
    return pd.DataFrame(rows, columns=BAND)


def drawn(table: pd.DataFrame, name: str = "a") -> str:
    with figures.style(name):
        return figures.svg(figures.curves(table, {"female": "#0072b2"}, figures.SHARES, LAYOUT))


def test_the_same_data_give_the_same_bytes() -> None:
    table = frame("reading", "dancing", "cooking")
    assert drawn(table) == drawn(table)
    with figures.style("a"):
        pictures = [figures.png(figures.curves(table, {}, figures.SHARES, LAYOUT)) for _ in range(2)]
    assert pictures[0] == pictures[1]


def test_a_file_has_no_date_and_an_inlined_figure_no_address() -> None:
    text = drawn(frame("reading"))
    assert "<dc:date>" not in text
    assert "http" not in figures.inline(text, "a")
    assert "<style" not in figures.inline(text, "a")


def test_ids_of_two_inlined_figures_never_clash_and_every_reference_is_kept() -> None:
    text = drawn(frame("reading", "dancing"))
    one, two = figures.inline(text, "one"), figures.inline(text, "two")
    ids = [set(re.findall(r'\bid="([^"]+)"', part)) for part in (one, two)]
    assert ids[0].isdisjoint(ids[1])
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one)) <= {(i, "") for i in ids[0]} | {("", i) for i in ids[0]}


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$\\frac{", 'a_b^c & "d"', "情感", "🙂" * 40, "x" * 500])
def test_any_name_can_stand_above_a_panel(name: str) -> None:
    text = figures.inline(drawn(frame(name)), "a")
    assert "<script" not in text
    with figures.style("a"):
        assert figures.png(figures.curves(frame(name), {}, figures.SHARES, LAYOUT))


def test_missing_values_leave_gaps() -> None:
    table = frame("reading").astype({"value": float})
    table.loc[table["round"] > 1, ["value", "low", "high"]] = float("nan")
    assert "<svg" in drawn(table)
    assert "<svg" in drawn(table.assign(value=float("nan"), low=float("nan"), high=float("nan")))


def test_a_forest_of_estimates_without_intervals() -> None:
    rows = pd.DataFrame({"group": "g", "label": ["a", "b"], "value": [0.0, 0.1], "low": [float("nan")] * 2})
    with figures.style("a"):
        assert "<svg" in figures.svg(figures.forest(rows.assign(high=float("nan")), LAYOUT))


def test_ordered_categories_get_a_sequence_that_darkens() -> None:
    colours = figures.colours_of(["0-3", "4-19", "20-39", "40-69", "70+"], ordered=True)
    light = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in colours.values()]
    assert light == sorted(light, reverse=True)
    assert len(set(colours.values())) == 5
