"""How often the 95 % intervals hold the truth, and how often tests reject without drift, in made-up worlds.

    python scripts/bench/calibration.py                      # 2,000 repetitions of every world, 200 of distances
    python scripts/bench/calibration.py --repetitions 200    # a look

The demand (measurement page): at least .95 minus Monte-Carlo error at 100 seeds or more, at least .93 at 30; tests at no
more than .05 plus Monte-Carlo error. Widths stand beside; the last part is what the usual alternatives do instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from _record import record

from driftloop.core import rng
from driftloop.statistics.calibration import Record, World, check_means, check_pairs, draw
from driftloop.statistics.distances import DISTANCES, ORDERED_DISTANCES
from driftloop.statistics.intervals import tango, wilson
from driftloop.statistics.panel import group
from driftloop.statistics.resampling import bootstrap_means, swapped_sums, unit_differences
from driftloop.statistics.tests import quadratic_form, swap_p_value

SIZES = (30, 100, 300)
ALL = (*DISTANCES, *ORDERED_DISTANCES)
EVEN, RARE, RARER, FIVE, SKEW = (0.5, 0.5), (0.05, 0.95), (0.01, 0.99), (0.2,) * 5, (0.6, 0.3, 0.07, 0.02, 0.01)
NINE = (0.3, 0.25, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01)
CHANGES = {
    "even, none": (EVEN, EVEN),
    ".5 to .7": (EVEN, (0.7, 0.3)),
    "rare, none": (RARE, RARE),
    ".02 to .05": ((0.02, 0.98), RARE),
    "0 to .01": ((0.0, 1.0), RARER),
    ".005, none": ((0.005, 0.995), (0.005, 0.995)),
    ".98 to .95": ((0.98, 0.02), (0.95, 0.05)),
    ".3 to .9": ((0.3, 0.7), (0.9, 0.1)),
}
CONCEPTS = {"one concept": (1.0,), "concepts alike": (0.4, 0.25, 0.2, 0.15), "concepts .6-.04": (0.6, 0.26, 0.1, 0.04)}


HOW = (  # replicates, uniform, kept, unread
    (1, 0.0, 0.0, 0.0),
    (1, 0.0, 0.9, 0.0),
    (1, 0.0, 0.9, 0.2),
    (3, 0.0, 0.0, 0.0),
    (3, 0.0, 0.9, 0.2),
    (10, 0.0, 0.0, 0.0),
    (10, 0.3, 0.0, 0.0),
    (10, 0.3, 0.9, 0.2),
)


def worlds() -> Iterator[tuple[str, World]]:
    """Every change in every way."""
    for (name, (baseline, later)), (replicates, uniform, kept, unread) in product(CHANGES.items(), HOW):
        world = World(baseline=baseline, later=later, replicates=replicates, kept=kept, uniform=uniform, unread=unread)
        yield f"{name}; replicates {replicates}, uniform {uniform}, kept {kept}, unread {unread}", world


def of(checked: Record) -> str:
    rejected = "" if np.isnan(checked.rejected) else f" p<=.05 {checked.rejected:.3f}"
    return f"{checked.covered:.3f} (width {checked.width:.3f}){rejected}"


def means(repetitions: int, *, standardised: bool) -> tuple[list[str], dict[int, list[float]], list[float]]:
    """Lines, coverages by size, and rejections where nothing drifts."""
    lines, covered, rejected = [], {n: [] for n in SIZES}, []
    mixes = {name: mix for name, mix in CONCEPTS.items() if (len(mix) > 1) == standardised}
    for n_seeds, (mix, concepts), (name, plain) in product(SIZES, mixes.items(), worlds()):
        if standardised and (n_seeds < 100 and concepts[-1] < 0.1):
            continue  # the smallest concept would hold one seed
        world = replace(plain, concepts=concepts)
        seed = rng.derive(0, n_seeds, mix, name)
        share, shift = check_means(world, n_seeds, repetitions, seed, standardised=standardised)
        covered[n_seeds] += [share.covered, shift.covered]
        rejected += [] if np.isnan(shift.rejected) else [shift.rejected]
        lines.append(f"{n_seeds:4d} {mix}; {name}: share {of(share)}, shift {of(shift)}")
    return lines, covered, rejected


def pairs(repetitions: int) -> tuple[list[str], dict[int, list[float]], list[float]]:
    """As `means`, for distances and omnibus tests."""
    lines, covered, rejected = [], {n: [] for n in SIZES}, []
    compositions = {"even": EVEN, "rare": RARE, "five": FIVE, "skew": SKEW, "nine": NINE}
    for n_seeds, (name, baseline), replicates, kept, moved in product(
        SIZES, compositions.items(), (1, 5), (0.0, 0.8), (0.0, 0.3)
    ):
        later = tuple(np.array(baseline) * (1 - moved) + moved * np.eye(len(baseline))[0])
        world = World(baseline=baseline, later=later, replicates=replicates, kept=kept)
        omnibus, found = check_pairs(world, ALL, n_seeds, repetitions, rng.derive(0, n_seeds, name))
        covered[n_seeds] += [one.covered for one in found]
        rejected += [omnibus, *(one.rejected for one in found)] if moved == 0 else []
        what = f"{n_seeds:4d} {name}, moved {moved}, replicates {replicates}, kept {kept}: omnibus {omnibus:.3f}"
        lines.append(", ".join([what, *(f"{by.__name__} {of(one)}" for by, one in zip(ALL, found, strict=True))]))
    return lines, covered, rejected


def alternatives(repetitions: int) -> list[str]:
    """What Wilson, Tango, the percentile bootstrap and swapping rounds do in the same worlds."""
    lines = []
    for n_seeds in SIZES:
        world = World(baseline=(0.0, 1.0), later=(0.18 / n_seeds, 1 - 0.18 / n_seeds))
        early, late = draw(world, np.zeros(n_seeds, np.intp), repetitions, rng.generator(1))
        counts, n, true = late[:, :, 0].sum(axis=0), np.full(repetitions, float(n_seeds)), 0.18 / n_seeds
        for name, (low, high) in {"wilson": wilson(counts, n), "tango": tango(counts, 0 * counts, n)}.items():
            lines.append(f"{n_seeds:4d} share 0 to .18/n: {name} {((low <= true) & (true <= high)).mean():.3f}")
        lines.append(f"{n_seeds:4d} same: percentile bootstrap {percentile_coverage(late - early, true, 400):.3f}")
        for name, composition in {"rare": RARE, "five": FIVE, "skew": SKEW, "nine": NINE}.items():
            world = World(baseline=composition, later=composition, replicates=5)
            lines.append(f"{n_seeds:4d} {name}, 5 replicates, no drift: swaps reject {swapping(world, n_seeds, 600):.3f}")
    return lines


def percentile_coverage(differences: np.ndarray, true: float, repetitions: int) -> float:
    members = group("made up", np.arange(len(differences)))
    drawn = bootstrap_means(differences[:, :repetitions, :1], members, 1000, 2)[:, :, 0]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return float(((low <= true) & (true <= high)).mean())


def swapping(world: World, n_seeds: int, repetitions: int) -> float:
    """How often the Stuart-Maxwell statistic rejects against swapped rounds whatever the readings are."""
    early, late = draw(world, np.zeros(n_seeds, np.intp), repetitions, rng.generator(3))
    members = group("made up", np.arange(n_seeds))
    p_values = []
    for i in range(repetitions):
        units = unit_differences(late[:, i] - early[:, i], members)
        second = units.T @ units
        swapped = quadratic_form(swapped_sums(units, 400, rng.derive(4, i)), second)[0]
        p_values.append(swap_p_value(quadratic_form(units.sum(axis=0), second)[0], swapped))
    return float((np.array(p_values) <= 0.05).mean())


def summary(what: str, covered: dict[int, list[float]], rejected: list[float]) -> str:
    least = ", ".join(f"{min(values):.3f} at {n}" for n, values in covered.items())
    return f"{what}: least coverage {least} seeds; most rejections without drift {max(rejected):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="of shares and shifts; a tenth of it of distances")
    repetitions = parser.parse_args().repetitions
    one, one_covered, one_rejected = means(repetitions, standardised=False)
    many, many_covered, many_rejected = means(repetitions, standardised=True)
    apart, apart_covered, apart_rejected = pairs(max(repetitions // 10, 1))
    head = [
        f"repetitions {repetitions}, Monte-Carlo error of .95 (two standard errors) {2 * (0.0475 / repetitions) ** 0.5:.4f}",
        summary("shares and shifts", one_covered, one_rejected),
        summary("the same, concepts weighted alike", many_covered, many_rejected),
        summary(f"distances and omnibus tests ({repetitions // 10} repetitions)", apart_covered, apart_rejected),
    ]
    record("calibration", [*head, "", *alternatives(repetitions), "", *one, "", *many, "", *apart])


if __name__ == "__main__":
    main()
