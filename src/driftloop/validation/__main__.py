"""The command `scripts/validate_statistics`: how often intervals hold the truth and tests reject, in worlds of known truth.

Every setting is written to the csv as soon as it is done, and a setting that stands there is not done again unless the
code has changed; the txt holds the summary. A section is a module of `driftloop.validation` (see `outcome`).
"""

from __future__ import annotations

import argparse
import csv
import importlib
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from driftloop.core.config import digest
from driftloop.validation.outcome import Case, Outcome

COLUMNS = (
    "section", "setting", "quantity", "kind", "n_seeds", "repetitions", "rate", "error", "demand", "holds", "width",
    "seconds", "asked", "code",
)  # fmt: skip
DEFAULT = (
    "readings", "concepts", "trends", "dynamics", "meaning", "comparison", "distances", "probes", "decomposition",
    "correction", "loop",
)  # fmt: skip
QUICK = 40
Cases = Callable[[int], Iterator[Case]]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every demand is met, 1 where one is not."""
    parser = argparse.ArgumentParser(prog="validate_statistics", description=__doc__)
    parser.add_argument("--sections", nargs="+", default=list(DEFAULT), help=f"modules to run (default {' '.join(DEFAULT)})")
    parser.add_argument("--repetitions", type=int, default=2000, help="of a setting at the level of readings (default 2000)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} repetitions, in a file of its own: does it run")
    parser.add_argument("--fresh", action="store_true", help="does settings again that are there already")
    parser.add_argument("--out", type=Path, required=True, help="folder of validate_statistics.csv and .txt")
    asked = parser.parse_args(arguments)
    sections = {name: section(name) for name in asked.sections}
    file = asked.out / ("validate_statistics_quick.csv" if asked.quick else "validate_statistics.csv")
    table = Table(file, QUICK if asked.quick else asked.repetitions)
    table.drop_stale(asked.sections, everything=asked.fresh)
    for name, cases in sections.items():
        fill(table, name, cases)
    lines = [*heading(sys.argv[1:] if arguments is None else arguments), *summary(table.rows())]
    _write(file.with_suffix(".txt"), lines)
    sys.stdout.write("\n".join(lines) + "\n")
    return int((table.rows()["holds"] == "False").any())


def section(name: str) -> Cases:
    """The `cases` of a module of this package. SystemExit names what there is."""
    here = Path(__file__).parent
    known = sorted(path.stem for path in here.glob("*.py") if "\ndef cases(" in path.read_text(encoding="utf-8"))
    if name not in known:
        raise SystemExit(f"there is no section {name!r}; sections: {', '.join(known)}")
    cases: Cases = importlib.import_module(f"driftloop.validation.{name}").cases
    return cases


def code_version() -> str:
    """What the numbers depend on: the sources of statistics and of this package."""
    source = Path(__file__).parents[1]
    files = [path for folder in ("statistics", "validation") for path in sorted((source / folder).glob("*.py"))]
    return digest({str(path.relative_to(source)): path.read_text(encoding="utf-8") for path in files})[:8]


@dataclass
class Table:
    """The csv: a row per outcome, added to as settings are done."""

    path: Path
    repetitions: int
    code: str = field(default_factory=code_version)

    def drop_stale(self, sections: Sequence[str], *, everything: bool) -> None:
        """Rows of these sections that stem from other code or another number of repetitions, or all of them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = self.rows() if self.path.exists() else pd.DataFrame(columns=list(COLUMNS))
        stale = (rows["code"] != self.code) | (rows["asked"] != str(self.repetitions)) | everything
        _write(self.path, rows[~(rows["section"].isin(sections) & stale)].to_csv(index=False).splitlines())

    def rows(self) -> pd.DataFrame:
        return pd.read_csv(self.path, dtype=str, keep_default_na=False)

    def done(self, name: str) -> set[str]:
        rows = self.rows()
        return set(rows.loc[rows["section"] == name, "setting"])

    def add(self, name: str, setting: str, outcomes: Sequence[Outcome], seconds: float) -> None:
        """All outcomes of a setting in one write, so that a killed run leaves no half of one."""
        lines = [_line(name, setting, one, seconds, self.repetitions, self.code) for one in outcomes]
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)


def _line(name: str, setting: str, one: Outcome, seconds: float, asked: int, version: str) -> list[Any]:
    numbers = [one.rate, one.error, one.demand, one.width, seconds]
    rate, error, demand, width, took = ("" if np.isnan(number) else f"{number:.5g}" for number in numbers)
    holds = "" if one.holds is None else str(one.holds)
    return [
        name, setting, one.quantity, one.kind, one.n_seeds, one.repetitions, rate, error, demand, holds, width, took,
        asked, version,
    ]  # fmt: skip


def fill(table: Table, name: str, cases: Cases) -> None:
    """Checks what is not in the table yet; a line a setting goes to the standard error."""
    done = table.done(name)
    for case in cases(table.repetitions):
        if case.name in done:
            continue
        start = time.process_time()
        outcomes = list(case.check())
        table.add(name, case.name, outcomes, time.process_time() - start)
        missed = [f"{one.quantity} {one.rate:.3f}" for one in outcomes if one.holds is False]
        sys.stderr.write(f"{name}: {case.name}{': MISSED ' + ', '.join(missed) if missed else ''}\n")


def heading(arguments: Sequence[str]) -> list[str]:
    """Command, date, machine. The wrapper's own --out is no part of the command."""
    typed = [word for i, word in enumerate(arguments) if word != "--out" and (i == 0 or arguments[i - 1] != "--out")]
    return [
        f"command: {shlex.join(['scripts/validate_statistics', *typed])}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {os.cpu_count()} CPU cores, {platform.machine()}, python {platform.python_version()}, "
        f"numpy {np.__version__}",
    ]


def summary(rows: pd.DataFrame) -> Iterator[str]:
    """Per section there is: what was demanded and met, the least coverage and largest size, and every demand missed."""
    numbers = rows.assign(**{name: pd.to_numeric(rows[name]) for name in ("rate", "width", "seconds", "demand", "n_seeds")})
    for name, mine in numbers.groupby("section", sort=False):
        settings = mine.drop_duplicates("setting")
        asked = mine[mine["holds"] != ""]
        of = f"{mine['asked'].iloc[0]} repetitions asked, code {mine['code'].iloc[0]}"
        yield f"\n== {name}: {len(settings)} settings, {of}, {settings['seconds'].sum():.0f} s of one core"
        yield f"demands met: {(asked['holds'] == 'True').sum()} of {len(asked)}"
        grouped = mine.assign(free=mine["holds"] == "").groupby(["kind", "quantity", "free"], sort=False)
        for (kind, quantity, free), part in grouped:
            yield from _quantity_lines(str(kind), f"{quantity}{', no demand' if free and kind != 'finds' else ''}", part)
        for row in asked[asked["holds"] == "False"].itertuples():
            found = f"{row.rate:.3f} (demand {row.demand:.2f}, {row.repetitions} repetitions)"
            yield f"  MISSED {row.setting}: {row.quantity} {found}"


def _quantity_lines(kind: str, quantity: str, rows: pd.DataFrame) -> Iterator[str]:
    """One quantity, by number of seeds: the worst setting and the mean of all."""
    for n_seeds, part in rows.groupby("n_seeds"):
        ordered = part.sort_values("rate", ascending=kind == "covers")
        said = {"covers": "least coverage", "rejects": "largest size", "finds": "power up to", "off": "at most"}[kind]
        where = f" ({ordered['setting'].iloc[0]})" if kind != "finds" else ""
        width = f", mean width {part['width'].mean():.3f}" if part["width"].notna().any() else ""
        rates = f"{ordered['rate'].iloc[0]:.3f}{where}, mean {part['rate'].mean():.3f} of {len(part)}"
        yield f"  {quantity}, {n_seeds} seeds: {said} {rates}{width}"


def _write(path: Path, lines: Sequence[str]) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
