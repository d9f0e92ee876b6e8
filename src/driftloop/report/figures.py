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


# Kinds of figures ----------------------------------------------------------------------------------------------------


def curves(frame: pd.DataFrame, colours: Mapping[str, str], axis: Axis, layout: Layout) -> Figure:
    """A panel per `panel` of a frame to draw (tables.BAND), with bands."""
    panels = list(dict.fromkeys(frame["panel"]))
    figure, grid = _grid(panels, layout, across=ACROSS if axis.shared else LEFT)
    for ax, panel in zip(grid, panels, strict=True):
        rows = frame[frame["panel"] == panel]
        _round_axis(ax, frame["round"])
        _value_axis(ax, axis, axis.top if axis.top is not None else _ceiling(frame if axis.shared else rows))
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
    figure, grid = _grid(panels, layout, head=0.3)
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


def forest(rows: pd.DataFrame, layout: Layout) -> Figure:
    """Estimates with intervals as one row each (group, label, value, low, high), zero marked."""
    lines = list(_forest_lines(rows))
    room = int(layout.width * 0.45 / 0.068)
    names = [shortened(line if isinstance(line, str) else str(line["label"]), room) for line in lines]
    left = 0.15 + 0.068 * max(map(len, names))
    figure, (ax,) = _grid(["all"], Layout(layout.width, 0.22 * len(lines), 1), left=left, top=0.05)
    reach = 1.08 * float(np.nanmax(np.abs(rows[["value", "low", "high"]].astype(float).to_numpy()), initial=0.02))
    ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for place, line in enumerate(lines):
        if not isinstance(line, str):
            _forest_row(ax, -place, line)
    _forest_names(ax, names)
    for tick, line in zip(ax.get_yticklabels(), lines, strict=True):
        tick.set(color=INK, fontweight="bold" if isinstance(line, str) else "normal")
    ax.set_xlim(-reach, reach)
    ax.xaxis.set_major_formatter(lambda value, _: signed(value, 0))
    ax.set_xlabel("shift in points")
    return figure


# Parts of figures ----------------------------------------------------------------------------------------------------


def _data(ax: Axes, line: pd.DataFrame, colour: str) -> None:
    low, high = (line[name].astype(float) for name in ("low", "high"))
    ax.fill_between(line["round"], low, high, color=colour, alpha=0.16, linewidth=0)
    ax.plot(line["round"], line["value"], color=colour, linewidth=1.8, marker="o", markersize=3.2, zorder=4)
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


DRAW: Mapping[str, Callable[[Axes, pd.DataFrame, str], None]] = {
    "data": _data,
    "context": _context,
    "planted": _planted,
    "null": _null,
}


def _forest_lines(rows: pd.DataFrame) -> Iterator[str | pd.Series[Any]]:
    """The name of each group, then its rows."""
    for group, mine in rows.groupby("group", sort=False):
        yield str(group)
        for _, row in mine.iterrows():
            yield row


def _forest_row(ax: Axes, place: int, row: pd.Series[Any]) -> None:
    clear = bool(row["low"] > 0 or row["high"] < 0)
    colour = BLUE if clear else SOFT
    ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
    ax.plot([row["value"]], [place], marker="o", markersize=5, color=colour if clear else "white", markeredgecolor=colour)
    ax.text(1.01, place, signed(row["value"], 1), transform=ax.get_yaxis_transform(), va="center", color=colour)


def _forest_names(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks([-place for place in range(len(names))], names)
    ax.set_ylim(0.6 - len(names), 0.6)
    ax.spines["left"].set_visible(False)


def signed(share: float, digits: int) -> str:
    """A shift in points with its sign; nothing is 0."""
    rounded = round(100 * share, digits) + 0.0
    return "0" if rounded == 0 else f"{rounded:+.{digits}f}".replace("-", "−")


def _round_axis(ax: Axes, rounds: pd.Series[Any]) -> None:
    low, high = int(rounds.min()), int(rounds.max())
    room = max(1, high - low)
    ax.set_xlim(low - 0.06 * room - 0.3, high + 0.06 * room + 0.3)
    ax.set_xticks(range(low, high + 1, max(1, ceil(room / 6))))


def _value_axis(ax: Axes, axis: Axis, top: float) -> None:
    ax.set_ylim(0, top)
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
    place = (LEFT / layout.width, 1 - 0.05 / figure.get_figheight())
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=len(handles), **look)


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
