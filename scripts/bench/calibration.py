"""What the usual intervals and tests do in worlds in which ours hold: the reasons for not using them.

    python scripts/bench/calibration.py                      # 2,000 repetitions of every world
    python scripts/bench/calibration.py --repetitions 200    # a look

Ours, in many more worlds: scripts/validate_statistics.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from _record import record

from driftloop.core import rng
from driftloop.statistics.calibration import World, draw
from driftloop.statistics.intervals import share_limits, shift_limits, tango, wilson
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import group
from driftloop.statistics.resampling import bootstrap_means, swapped_sums, unit_differences
from driftloop.statistics.tests import category_rejections, quadratic_form, swap_p_value

SIZES = (30, 100, 300)
EVENTS = (0.17, 0.5, 1.0, 3.0, 10.0)  # expected seeds that move, of all; before, nobody was there
RARE, FIVE, SKEW = (0.05, 0.95), (0.2,) * 5, (0.6, 0.3, 0.07, 0.02, 0.01)
NINE = (0.3, 0.25, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01)
DRAWS = 1000  # of a bootstrap
Limits = tuple[np.ndarray, np.ndarray]


def by_wilson(_: np.ndarray, late: np.ndarray) -> Limits:
    return wilson(late.sum(axis=0), np.full(late.shape[1], float(len(late))))


def by_tango(early: np.ndarray, late: np.ndarray) -> Limits:
    rises, falls = (np.maximum(sign * (late - early), 0).sum(axis=0) for sign in (1, -1))
    return tango(rises, falls, np.full(late.shape[1], float(len(late))))


def by_bootstrap(early: np.ndarray, late: np.ndarray) -> Limits:
    members = group("made up", np.arange(len(early)))
    drawn = bootstrap_means((late - early)[:, :, None], members, DRAWS, 2)[:, :, 0]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return low, high


def by_share_limits(_: np.ndarray, late: np.ndarray) -> Limits:
    return share_limits(moments(late, group("made up", np.arange(len(late)))))


def by_shift_limits(early: np.ndarray, late: np.ndarray) -> Limits:
    return shift_limits(*changes(late - early, group("made up", np.arange(len(late)))))


def coverage_lines(name: str, interval: Callable[[np.ndarray, np.ndarray], Limits], repetitions: int) -> Iterator[str]:
    """The share, and the shift, from nobody to so many expected seeds: one number, for both are the same there."""
    for n_seeds in SIZES:
        rates = []
        for events in EVENTS:
            true = events / n_seeds
            world = World(baseline=(0.0, 1.0), later=(true, 1 - true))
            early, late = draw(world, np.zeros(n_seeds, np.intp), repetitions, rng.generator(1))
            low, high = interval(early[:, :, 0], late[:, :, 0])
            rates.append(((low <= true) & (true <= high)).mean())
        said = " ".join(f"{rate:.3f}" for rate in rates)
        yield f"{name}, {n_seeds} seeds, {' '.join(map(str, EVENTS))} expected to move: {said}; least coverage {min(rates):.3f}"


def size_lines(repetitions: int) -> Iterator[str]:
    """Swapping rounds within seeds where replicates share the picture of round 0 and nothing drifts, beside our test."""
    for n_seeds in SIZES:
        for name, composition in {"rare": RARE, "five": FIVE, "skew": SKEW, "nine": NINE}.items():
            world = World(baseline=composition, later=composition, replicates=5)
            early, late = draw(world, np.zeros(n_seeds, np.intp), repetitions, rng.generator(3))
            members = group("made up", np.arange(n_seeds))
            ours = category_rejections(*changes((late - early)[:, :, 0], members)).mean()
            yield f"{n_seeds} seeds, {name}, 5 replicates: swaps reject {swapping(early, late):.3f}, ours (first) {ours:.3f}"


def swapping(early: np.ndarray, late: np.ndarray) -> float:
    """How often the Stuart-Maxwell statistic rejects against swapped rounds whatever the readings are."""
    members = group("made up", np.arange(len(early)))
    p_values = []
    for i in range(early.shape[1]):
        units = unit_differences(late[:, i] - early[:, i], members)
        second = units.T @ units
        swapped = quadratic_form(swapped_sums(units, 400, rng.derive(4, i)), second)[0]
        p_values.append(swap_p_value(quadratic_form(units.sum(axis=0), second)[0], swapped))
    return float((np.array(p_values) <= 0.05).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="of a world; half of it where all is resampled")
    repetitions = parser.parse_args().repetitions
    methods = {
        "Wilson": by_wilson,
        "Tango": by_tango,
        "percentile bootstrap": by_bootstrap,
        "our share": by_share_limits,
        "our shift": by_shift_limits,
    }
    lines = [f"repetitions {repetitions}; nominal .95 and .05"]
    for name, interval in methods.items():
        fewer = max(1, repetitions // 2) if interval is by_bootstrap else repetitions
        lines += coverage_lines(name, interval, fewer)
    record("calibration", [*lines, "", *size_lines(max(1, repetitions // 2))])


if __name__ == "__main__":
    main()
