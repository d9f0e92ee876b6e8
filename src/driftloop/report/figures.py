"""Drawing from ready frames, and nothing else: no number is computed here that is not a place on the paper.

Every figure exists in two layouts, wide for a page and narrow for a phone; colours are told apart by the colour-blind.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, FAINT = "#1b1f24", "#6b7280", "#d5d9de"
BLUE = "#0072b2"
OKABE_ITO = (BLUE, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SEQUENTIAL = ("#f2c45a", "#e2894a", "#c2506a", "#7f3b8c", "#2f2a6b", "#14143a")
"""For ordered categories: darker is further along, also in grey."""

LEFT, RIGHT, TOP, BOTTOM, ACROSS, DOWN = 0.62, 0.5, 0.3, 0.46, 0.34, 0.56
"""Inches around and between panels. Measuring text to lay out a figure would take longer than drawing it."""

STYLE: Mapping[str, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # names come from data sets: a $ is a $
    "axes.edgecolor": "#9aa1ab",
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "svg.fonttype": "none",
}
PIXELS = 150  # dots per inch of the PNG


@dataclass(frozen=True, slots=True)
class Layout:
    """`width` of the whole figure and `height` of one panel's axes, in inches; at most `columns` panels side by side."""

    width: float
    height: float
    columns: int


@dataclass(frozen=True, slots=True)
class Axis:
    """How values are written, the range shown (None: what the data needs, from 0), and whether panels share it."""

    label: str
    form: Callable[[float], str]
    top: float | None = None
    shared: bool = True


def percent_tick(value: float) -> str:
    return f"{100 * value:.0f} %"


SHARES = Axis("share of readings", percent_tick)


@dataclass(frozen=True, slots=True)
class Effects:
    """What effects are called under their axis, and how many of its units 1 is."""

    label: str
    unit: float = 100.0


SHIFTS = Effects("shift in points")


# Kinds of figures ----------------------------------------------------------------------------------------------------


def curves(frame: pd.DataFrame, colours: Mapping[str, str], axis: Axis, layout: Layout) -> Figure:
    """A panel per `panel` of a frame to draw (tables.BAND), with bands."""
    panels = list(dict.fromkeys(frame["panel"]))
    figure, grid = _grid(panels, layout, across=ACROSS if axis.shared else LEFT)
    for ax, panel in zip(grid, panels, strict=True):
        rows = frame[frame["panel"] == panel]
        _round_axis(ax, frame["round"])
        shown = frame if axis.shared else rows
        _value_axis(ax, axis, axis.top if axis.top is not None else _ceiling(shown), _lowest(shown))
        for (role, series), line in rows.groupby(["role", "series"], sort=False):
            DRAW[str(role)](ax, line, colours.get(str(series), BLUE))
        _title(ax, panel, layout)
    _outer_labels(grid, layout, axis)
    if layout.columns == 1 and (frame["role"] == "planted").any():
        grid[0].set_title("- - expected", loc="right", fontsize=7.5, fontweight="normal", color=SOFT)
    return figure


def stacks(frame: pd.DataFrame, colours: Mapping[str, str], layout: Layout) -> Figure:
    """A panel per `panel`: the composition at every round as a stacked bar; `colours` gives the order from below."""
    panels = list(dict.fromkeys(frame["panel"]))
    figure, grid = _grid(panels, layout, head=_key_room(colours, layout))
    for ax, panel in zip(grid, panels, strict=True):
        wide = frame[frame["panel"] == panel].pivot_table(index="round", columns="series", values="value")
        floor = np.zeros(len(wide))
        for series in [name for name in colours if name in wide]:
            ax.bar(wide.index, wide[series], bottom=floor, width=0.92, color=colours[series], linewidth=0)
            floor = floor + wide[series].to_numpy()
        _round_axis(ax, frame["round"])
        _value_axis(ax, SHARES, 1.0)
        _title(ax, panel, layout)
    _outer_labels(grid, layout, SHARES)
    _key(figure, colours, layout)
    return figure


def forest(rows: pd.DataFrame, layout: Layout, axis: Effects = SHIFTS) -> Figure:
    """Estimates with intervals as one row each (group, label, value, low, high), zero marked."""
    lines = list(_named_lines(rows))
    figure, ax = _rows_paper(lines, layout)
    for place, line in enumerate(lines):
        if not isinstance(line, str):
            _forest_row(ax, -place, line, axis)
    reach = float(np.nanmax(np.abs(rows[["value", "low", "high"]].astype(float).to_numpy()), initial=2 / axis.unit))
    _effects_axis(ax, reach, axis)
    return figure


def parts(rows: pd.DataFrame, colours: Mapping[str, str], layout: Layout, axis: Effects = SHIFTS) -> Figure:
    """Sums as one row each (group, label, total and a column per part), their parts stacked to either side of zero."""
    lines = list(_named_lines(rows))
    figure, ax = _rows_paper(lines, layout, head=_key_room(colours, layout))
    for place, line in enumerate(lines):
        if not isinstance(line, str):
            _parts_row(ax, -place, line, colours, axis)
    values = rows[list(colours)].astype(float)
    reach = max(float(values.clip(lower=0).sum(axis=1).max()), float(-values.clip(upper=0).sum(axis=1).min()), 2 / axis.unit)
    _effects_axis(ax, reach, axis)
    _key(figure, colours, layout)
    return figure


# Parts of figures ----------------------------------------------------------------------------------------------------


def _data(ax: Axes, line: pd.DataFrame, colour: str) -> None:
    low, high = (line[name].astype(float) for name in ("low", "high"))
    ax.fill_between(line["round"], low, high, color=colour, alpha=0.16, linewidth=0)
    ax.plot(line["round"], line["value"], color=colour, linewidth=1.8, marker="o", markersize=3.2, zorder=4, clip_on=False)
    known = line.dropna(subset=["value"])
    if len(known):
        last = known.iloc[-1]
        text = str(ax.yaxis.get_major_formatter()(last["value"]))
        ax.annotate(text, (last["round"], last["value"]), (5, 0), textcoords="offset points", va="center",
                    color=INK, fontweight="bold", fontsize=8, annotation_clip=False)  # fmt: skip


def _context(ax: Axes, line: pd.DataFrame, _: str) -> None:
    ax.plot(line["round"], line["value"], color="#b4bac2", linewidth=1.2, zorder=2)


def _planted(ax: Axes, line: pd.DataFrame, _: str) -> None:
    ax.plot(line["round"], line["value"], color=INK, linewidth=1.1, linestyle=(0, (4, 2.5)), zorder=3)


def _null(ax: Axes, line: pd.DataFrame, _: str) -> None:
    low, high = (line[name].astype(float) for name in ("low", "high"))
    ax.fill_between(line["round"], low, high, color="#9aa1ab", alpha=0.3, linewidth=0)
    ax.plot(line["round"], line["value"], color="#9aa1ab", linewidth=1.1, zorder=2)


def _audited(ax: Axes, line: pd.DataFrame, _: str) -> None:
    value = line["value"].astype(float)
    below, above = value - line["low"].astype(float), line["high"].astype(float) - value
    look: dict[str, Any] = {"fmt": "D", "markersize": 4.5, "color": "#b34700", "elinewidth": 1.6, "zorder": 5}
    ax.errorbar(line["round"], value, yerr=np.array([below, above]), **look)


DRAW: Mapping[str, Callable[[Axes, pd.DataFrame, str], None]] = {
    "data": _data,
    "context": _context,
    "planted": _planted,
    "null": _null,
    "audited": _audited,
}


def _named_lines(rows: pd.DataFrame) -> Iterator[str | pd.Series[Any]]:
    """The name of each group, then its rows."""
    for group, mine in rows.groupby("group", sort=False):
        yield str(group)
        for _, row in mine.iterrows():
            yield row


def _rows_paper(lines: Sequence[str | pd.Series[Any]], layout: Layout, head: float = 0.0) -> tuple[Figure, Axes]:
    """Room for a row of every line, their names at the left and zero marked."""
    room = int(layout.width * 0.45 / 0.068)
    names = [shortened(line if isinstance(line, str) else str(line["label"]), room) for line in lines]
    left = 0.15 + 0.068 * max(map(len, names))
    figure, (ax,) = _grid(["all"], Layout(layout.width, 0.22 * len(lines), 1), left=left, top=0.05, head=head)
    ax.axvline(0, color=INK, linewidth=0.8, zorder=3)
    ax.set_yticks([-place for place in range(len(names))], names)
    ax.set_ylim(0.6 - len(names), 0.6)
    ax.spines["left"].set_visible(False)
    for tick, line in zip(ax.get_yticklabels(), lines, strict=True):
        tick.set(color=INK, fontweight="bold" if isinstance(line, str) else "normal")
    return figure, ax


def _effects_axis(ax: Axes, reach: float, axis: Effects) -> None:
    ax.set_xlim(-1.08 * reach, 1.08 * reach)
    ax.xaxis.set_major_formatter(lambda value, _: signed(value, 0, axis.unit))
    ax.set_xlabel(axis.label)


def _parts_row(ax: Axes, place: int, row: pd.Series[Any], colours: Mapping[str, str], axis: Effects) -> None:
    edges = {1: 0.0, -1: 0.0}
    for name, colour in colours.items():
        value, side = float(row[name]), 1 if row[name] > 0 else -1
        ax.barh(place, value, left=edges[side], height=0.62, color=colour, linewidth=0)
        edges[side] += value
    ax.plot([row["total"]], [place], marker="D", markersize=4.5, color=INK, markeredgecolor="white", zorder=4)
    ax.text(1.01, place, signed(row["total"], 1, axis.unit), transform=ax.get_yaxis_transform(), va="center", color=INK)


def _forest_row(ax: Axes, place: int, row: pd.Series[Any], axis: Effects) -> None:
    clear = bool(row["low"] > 0 or row["high"] < 0)
    colour = BLUE if clear else SOFT
    ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
    ax.plot([row["value"]], [place], marker="o", markersize=5, color=colour if clear else "white", markeredgecolor=colour)
    ax.text(
        1.01, place, signed(row["value"], 1, axis.unit), transform=ax.get_yaxis_transform(), va="center", color=colour
    )  # fmt: skip


def signed(value: float, digits: int, unit: float = 100.0) -> str:
    """An effect with its sign, in points unless told; nothing is 0."""
    rounded = round(unit * value, digits) + 0.0
    return "0" if rounded == 0 else f"{rounded:+.{digits}f}".replace("-", "−")


def _round_axis(ax: Axes, rounds: pd.Series[Any]) -> None:
    low, high = int(rounds.min()), int(rounds.max())
    room = max(1, high - low)
    ax.set_xlim(low - 0.06 * room - 0.3, high + 0.06 * room + 0.3)
    ax.set_xticks(range(low, high + 1, max(1, ceil(room / 6))))


def _value_axis(ax: Axes, axis: Axis, top: float, bottom: float = 0.0) -> None:
    ax.set_ylim(bottom, top)
    ax.yaxis.set_major_formatter(lambda value, _: axis.form(value))
    ax.grid(axis="y", color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)


def _outer_labels(grid: Sequence[Axes], layout: Layout, axis: Axis) -> None:
    """Axis labels at the left and below only; numbers too, where panels share their axis."""
    for place, ax in enumerate(grid):
        if place % layout.columns == 0:
            ax.set_ylabel(axis.label)
        elif axis.shared:
            ax.tick_params(labelleft=False)
        if place + layout.columns >= len(grid):
            ax.set_xlabel("round")


def _title(ax: Axes, name: str, layout: Layout) -> None:
    """As much of a name as fits above a panel."""
    ax.set_title(shortened(name, int(13 * layout.width * ax.get_position().width)))


def _key(figure: Figure, colours: Mapping[str, str], layout: Layout) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=shortened(name)) for name, colour in colours.items()]
    look: dict[str, Any] = {"frameon": False, "handlelength": 0.9, "columnspacing": 1.2, "borderpad": 0}
    place = (0.15 / layout.width, 1 - 0.05 / figure.get_figheight())
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=_key_columns(colours, layout), **look)


def _key_room(colours: Mapping[str, str], layout: Layout) -> float:
    """Inches that the key takes above a figure."""
    return 0.08 + 0.2 * ceil(len(colours) / _key_columns(colours, layout))


def _key_columns(colours: Mapping[str, str], layout: Layout) -> int:
    """As many names beside each other as fit."""
    widest = 0.4 + 0.066 * max(len(shortened(name)) for name in colours)
    return max(1, min(len(colours), int((layout.width - 0.3) / widest)))


def _grid(
    panels: Sequence[str],
    layout: Layout,
    *,
    head: float = 0.0,
    across: float = ACROSS,
    left: float = LEFT,
    top: float = TOP,
) -> tuple[Figure, list[Axes]]:
    """A figure with one pair of axes a panel; `head` is free above them all. Everything in inches."""
    from matplotlib.figure import Figure

    columns = min(layout.columns, len(panels))
    rows = ceil(len(panels) / columns)
    each = (layout.width - left - RIGHT - across * (columns - 1)) / columns
    height = head + top + rows * layout.height + (rows - 1) * DOWN + BOTTOM
    figure = Figure((layout.width, height))
    edges = {"left": left / layout.width, "right": 1 - RIGHT / layout.width}
    edges |= {"bottom": BOTTOM / height, "top": 1 - (head + top) / height}
    gaps = {"wspace": across / each, "hspace": DOWN / layout.height}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={**edges, **gaps}).ravel()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    return figure, list(axes[: len(panels)])


def _ceiling(frame: pd.DataFrame) -> float:
    """A round number above all that is shown."""
    most = float(np.nanmax(frame[["value", "high"]].astype(float).to_numpy(), initial=0.0))
    if most <= 0:
        return 0.1
    step = 10.0 ** np.floor(np.log10(most)) / 2
    return float(ceil(most * 1.02 / step) * step)


def _lowest(frame: pd.DataFrame) -> float:
    """0, or below all that is shown."""
    return 1.05 * float(np.nanmin(frame[["value", "low"]].astype(float).to_numpy(), initial=0.0))


def colours_of(categories: Sequence[str], *, ordered: bool) -> dict[str, str]:
    """A colour each: a sequence for ordered categories, otherwise as distinct as can be."""
    if not ordered:
        return {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(categories)}
    places = np.linspace(0, len(SEQUENTIAL) - 2, len(categories)).round().astype(int)
    return {name: SEQUENTIAL[place] for name, place in zip(categories, places, strict=True)}


def shortened(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


# Out of matplotlib ---------------------------------------------------------------------------------------------------


@contextmanager
def style(name: str) -> Iterator[None]:
    """Our style while a figure is made and written; the same name and data then give the same bytes."""
    import matplotlib

    settings: Any = {**STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")  # names in any script; browsers have them
        yield


def svg(figure: Figure) -> str:
    """A whole SVG file without date or metadata."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    nobody = {"Date": None, "Creator": None, "Format": None, "Type": None}
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nobody)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    figure.set_dpi(PIXELS)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def inline(text: str, name: str) -> str:
    """The part of an SVG file that stands in a page: no prolog, no namespaces, ids that are the figure's own."""
    body = text[text.index("<svg") :].rstrip()
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", head)
    rest = re.sub(r"<style\b.*?</style>", "", rest, flags=re.DOTALL).replace("xlink:href=", "href=")  # it would style the page
    rest = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', rest)
    rest = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', rest)
    rest = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", rest)
    return f'{head} aria-hidden="true">{rest}'
