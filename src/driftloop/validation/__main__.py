"""The command `scripts/validate_loop`: plays planted worlds many times and prints how often the statistics are right."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from driftloop.core.batches import batches
from driftloop.core.rng import derive, generator
from driftloop.phantom.world import CATEGORIES
from driftloop.statistics.panel import Bools, Floats
from driftloop.validation.checks import (
    coverage,
    fewest_replicates,
    joint_p_values,
    joint_power,
    monte_carlo_error,
    pooled_p_value,
)
from driftloop.validation.loops import Played, bare, images, seeds_of, text
from driftloop.validation.setting import ATTRIBUTES, DROPPED, MISREAD, PLAIN, Setting, compositions

SEEDS, REPLICATES, ROUNDS = 96, 6, 5
JOINED = 6
"""Repetitions of one replicate whose seeds make one joint test together."""
OFF = 0.1
ROOT = 20260122


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="validate_loop", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="repetitions as bare draws (default 2000)")
    parser.add_argument("--texts", type=int, default=400, help="repetitions through text (default 400)")
    parser.add_argument("--images", type=int, default=40, help="repetitions of the whole run with images (default 40)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes for text and images (default 2)")
    parser.add_argument("--out", type=Path, help="a file to keep the output in")
    asked = parser.parse_args(arguments)
    lines = heading(sys.argv[1:] if arguments is None else arguments)
    with ProcessPoolExecutor(asked.processes) as pool:
        for line in report(asked.draws, asked.texts, asked.images, pool.map):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            lines.append(line)
    if asked.out is not None:
        partial_file = asked.out.with_suffix(".partial")
        partial_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial_file.replace(asked.out)


def heading(arguments: Sequence[str]) -> list[str]:
    """Command, date, machine. The wrapper's own --out is no part of the command."""
    typed = [word for i, word in enumerate(arguments) if word != "--out" and (i == 0 or arguments[i - 1] != "--out")]
    return [
        f"command: {shlex.join(['scripts/validate_loop', *typed])}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {os.cpu_count()} CPU cores, {platform.machine()}, python {platform.python_version()}, "
        f"numpy {np.__version__}",
    ]


def report(draws: int, texts: int, runs: int, spread: Callable[..., Iterator[Any]]) -> Iterator[str]:
    """The lines; `spread` is map, or a pool's."""
    yield f"{SEEDS} seeds of the planted composition, drawn anew each time; {ROUNDS} rounds; omission {PLAIN.omission}"
    yield "closed form = share or shift as read, over all seeds there could be; nominal coverage .950"
    for setting in (PLAIN, MISREAD) if draws else ():
        yield f"\n== {setting.name}: {draws} repetitions as bare draws"
        yield from coverage_lines(setting, drawn(setting, SEEDS, 1, draws))
        yield f"-- the same with {REPLICATES} replicates a seed"
        many = drawn(setting, SEEDS, REPLICATES, draws)
        yield from coverage_lines(setting, many)
        yield from joint_lines(setting, many, f"{SEEDS} seeds × {REPLICATES} replicates")
    for readers in ((PLAIN, MISREAD), (DROPPED,)) if texts else ():
        found = list(spread(partial(through_text, readers), range(texts)))
        for setting, played in zip(readers, zip(*found, strict=True), strict=True):
            yield f"\n== {setting.name}: {texts} repetitions through text"
            yield from single_lines(setting, played)
    if runs:
        yield f"\n== {MISREAD.name}: {runs} repetitions of play, measure and analyse with images and run folder"
        yield from single_lines(MISREAD, list(spread(partial(whole_run, MISREAD), range(runs))))


def single_lines(setting: Setting, played: Sequence[Played]) -> Iterator[str]:
    """Of repetitions with one replicate a seed."""
    yield from coverage_lines(setting, played)
    yield from joint_lines(setting, list(joined(played, JOINED)), f"{JOINED * SEEDS} seeds × 1 replicate")


def drawn(setting: Setting, seeds: int, replicates: int, repetitions: int) -> list[Played]:
    return [
        bare(setting, seeds, replicates, ROUNDS, generator(derive(ROOT, setting.name, "bare", replicates, i)))
        for i in range(repetitions)
    ]


def through_text(readers: Sequence[Setting], repetition: int) -> list[Played]:
    root_seed = derive(ROOT, readers[0].name, "text", repetition)
    return text(readers, seeds_of(SEEDS, root_seed), 1, ROUNDS, root_seed)


def whole_run(setting: Setting, repetition: int) -> Played:
    """Also refuses a run whose table of shares is not that of its readings."""
    with tempfile.TemporaryDirectory() as folder:
        root_seed = derive(ROOT, setting.name, "images", repetition)
        played, drift = images(setting, SEEDS, 1, ROUNDS, root_seed, Path(folder))
    check_table(setting, played, drift)
    return played


def check_table(setting: Setting, played: Played, drift: pd.DataFrame) -> None:
    """The widths of all share and shift intervals in analysis/drift.parquet are those found here from the readings."""
    for attribute in ATTRIBUTES:
        ours = coverage(setting, [played], attribute)
        for place, concept in enumerate(compositions()):
            rows = drift[(drift["attribute"] == attribute) & (drift["concept"] == concept)]
            rows = rows.assign(order=rows["category"].map(CATEGORIES[attribute].index)).sort_values(["round", "order"])
            for what, width in (("share", ours.share_width), ("shift", ours.shift_width)):
                theirs = (rows[f"{what}_high"] - rows[f"{what}_low"]).to_numpy()
                np.testing.assert_allclose(theirs, width[0, place].ravel(), atol=1e-9)


def joined(played: Sequence[Played], size: int) -> Iterator[Played]:
    """Repetitions taken together as one of more seeds; an incomplete last one is left out."""
    for some in batches(played, size):
        if len(some) == size:
            parts = (np.concatenate([getattr(one, name) for one in some]) for name in ("readings", "starts"))
            yield Played(*parts)


# Lines


def coverage_lines(setting: Setting, played: Sequence[Played]) -> Iterator[str]:
    """Coverage per group and round: gender's first category, age's mean over categories and its worst category."""
    error = monte_carlo_error(0.95, len(played))
    yield f"coverage (Monte-Carlo error of .950 ± {error:.3f}, two standard errors) {rounds_header()}"
    for attribute in ATTRIBUTES:
        found = coverage(setting, played, attribute)
        for what, held, width in (("share", found.share, found.share_width), ("shift", found.shift, found.shift_width)):
            for place, group in enumerate(compositions()):
                yield from group_lines(f"{attribute} {what} {group}", held[:, place], width[:, place], what == "shift")


def rounds_header() -> str:
    return "rounds " + " ".join(str(number) for number in range(ROUNDS + 1))


def group_lines(name: str, held: Bools, width: Floats, shift: bool) -> Iterator[str]:
    """Of one group: (repetitions, rounds + 1, categories). A shift at round 0 has no interval."""
    rates = held.mean(axis=0)
    start = int(shift)
    wide = " ".join(f"{value:.2f}" for value in width[:, start:].mean(axis=(0, 2)))
    if rates.shape[1] == 2:
        yield f"  {name:32s} {_row(rates[:, 0], start)}   widths {wide}"
    else:
        yield f"  {name:32s} {_row(rates.mean(axis=1), start)}   widths {wide}; worst category {_row(rates.min(axis=1), start)}"


def _row(rates: Floats, start: int) -> str:
    return " ".join(["  -  "] * start + [f"{rate:.3f}" for rate in rates[start:]])


def joint_lines(setting: Setting, played: Sequence[Played], extent: str) -> Iterator[str]:
    """Size and power of the joint test, and what all repetitions together say of the closed form."""
    n, replicates = played[0].readings.shape[:2]
    yield f"joint test at .05, {extent}, {len(played)} repetitions (rejected = share of repetitions, ± two standard errors)"
    for attribute in ATTRIBUTES:
        for omission in (setting.omission, setting.omission - OFF, setting.omission + OFF):
            yield f"  {attribute:6s} q = {omission:.1f}: {_rejections(setting, played, attribute, omission, n, replicates)}"
        pooled = pooled_p_value(setting, played, attribute)
        yield f"  {attribute:6s} all {n * len(played)} seeds together, planted q, all rounds × categories: p = {pooled:.3f}"


def _rejections(setting: Setting, played: Sequence[Played], attribute: str, omission: float, n: int, replicates: int) -> str:
    kept, shares = (joint_p_values(setting, played, attribute, omission, kept=kept) <= 0.05 for kept in (True, False))
    said = f"rejected {kept.mean():.3f} ± {monte_carlo_error(kept.mean(), kept.size):.3f}"
    if omission != setting.omission:
        power = joint_power(setting, attribute, omission, n, replicates, ROUNDS)
        fewest = fewest_replicates(setting, attribute, omission, SEEDS, ROUNDS)
        said += f", noncentral F {power:.3f}, .9 needs {SEEDS} × {fewest} replicates"
    return f"{said}; on bare shares {shares.mean():.3f}"


if __name__ == "__main__":
    main()
