"""How figures of a run are laid out and coloured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from driftloop.report import figures, words
from driftloop.report.material import Material

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERED = frozenset({"age"})
SHARES_TO_ONE = figures.Axis("share of readings", figures.percent_tick, 1.0)
ROWS = figures.Layout(7.2, 0, 1), figures.Layout(3.7, 0, 1)
"""For figures with a line of text per estimate."""


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


def curves(frame: pd.DataFrame, colour: Mapping[str, str], axis: figures.Axis) -> Callable[[figures.Layout], Figure]:
    return lambda layout: figures.curves(frame, colour, axis, layout)


def forest(rows: pd.DataFrame, axis: figures.Effects = figures.SHIFTS) -> Callable[[figures.Layout], Figure]:
    return lambda layout: figures.forest(rows, layout, axis)


def by(material: Material, attribute: str, classifier: str) -> str:
    """Who reads, where there are several."""
    return f" as {words.readable(classifier, 60)} reads it" if len(material.readers(attribute)) > 1 else ""
