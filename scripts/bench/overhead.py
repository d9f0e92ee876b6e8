"""What driftloop adds to its models: the seconds that they alone need, divided by the wall of the play stage.

The play stage (no intake, models warm) is played several times. After each time the same captions and pictures go through
the same models, called as diffusers and transformers offer them, unpadded, at the batch shape that was fastest in a sweep.
The models' tokenizers, image processors and conversion to 8-bit pictures count as model time; padding, reading, hashing,
encoding and writing are driftloop's.

    python scripts/bench/overhead.py                          # the built-in models, 256 chains x 5 rounds, three times
    python scripts/bench/overhead.py --chains 32 --repeats 1
    python scripts/bench/overhead.py generator=sdxl captioner=blip_large dataset=prompts dataset.file=p.txt
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _models import Bare, asked_for, twins, warm_bare, warm_players
from _play import composed, play, take_in
from _record import record

from driftloop.core.batches import batches
from driftloop.core.experiment import Experiment
from driftloop.stages.play import Players

SHAPES = (8, 16, 32, 64, 128, 256)
SAMPLE = 128
BAR = 0.90


@dataclass(frozen=True)
class Work:
    """One model's call on a list of items, the items that a run gave it, and driftloop's own call for the same."""

    name: str
    bare: Callable[[Sequence[Any]], object]
    ours: Callable[[Sequence[Any]], object]
    batch: int
    items: Sequence[Any]


def works(asked: Experiment, models: Players, bare: Bare) -> list[Work]:
    """Every (caption, seed) that the run drew, and every (picture, seed) that it described."""
    store = asked.store()
    rows = store.rounds(["chain", "round", "image", "caption", "generator_seed", "captioner_seed"])
    said = rows[["chain", "round", "caption"]].assign(round=rows["round"] + 1)
    drawn = rows[(rows["image"] != "") & (rows["round"] > 0)].merge(said, on=["chain", "round"], suffixes=("", "_before"))
    seen = rows[(rows["image"] != "") & rows["captioner_seed"].notna()]
    return [
        Work(
            "generator",
            lambda some: bare.generate(*zip(*some, strict=True)),
            lambda some: models.generator.generate(*zip(*some, strict=True)),
            models.generate_batch,
            list(zip(drawn["caption_before"], map(int, drawn["generator_seed"]), strict=True)),
        ),
        Work(
            "captioner",
            lambda some: bare.describe([image for image, _ in some]),
            lambda some: models.captioner.describe(*zip(*some, strict=True)),
            models.describe_batch,
            list(zip(store.images(list(seen["image"])), map(int, seen["captioner_seed"]), strict=True)),
        ),
    ]


def seconds(call: Callable[[Sequence[Any]], object], items: Sequence[Any], size: int) -> float:
    started = time.perf_counter()
    for some in batches(items, size):
        call(some)
    return time.perf_counter() - started


def sweep(work: Work) -> dict[int, float]:
    """Milliseconds per item of the bare model at each batch size, after one call at that size."""
    found = {}
    for size in (size for size in SHAPES if size <= max(len(work.items), SHAPES[0])):
        some = work.items[: max(size, SAMPLE)]
        work.bare(some[:size])
        found[size] = 1000 * seconds(work.bare, some, size) / len(some)
    return found


def told(name: str, swept: dict[int, float]) -> str:
    each = ", ".join(f"{size}: {milliseconds:.2f}" for size, milliseconds in swept.items())
    return f"{name} alone, ms per item by batch size: {each}"


def measured(asked: Sequence[Experiment]) -> list[str]:
    """The whole comparison as lines: loading, sweep, one line a repetition, the figure."""
    models, loading = warm_players(asked[0])
    bare, shapes, ratios = warm_bare(asked[0]), {}, []
    lines = [f"loading driftloop's models and a first call {loading:.1f} s, in no figure below"]
    for number, one in enumerate(asked, 1):
        taking, wall = take_in(one), play(one, models)
        todo = works(one, models, bare)
        if not shapes:
            lines.append(f"items: {len(todo[0].items)} pictures, {len(todo[1].items)} captions; intake {taking:.2f} s")
            for work in todo:
                swept = sweep(work)
                shapes[work.name] = min(swept, key=lambda size: swept[size])
                lines.append(told(work.name, swept))
        alone = [seconds(work.bare, work.items, shapes[work.name]) for work in todo]
        ours = [seconds(work.ours, work.items, work.batch) for work in todo]
        ratios.append(sum(alone) / wall)
        lines.append(
            f"{number}: play {wall:.2f} s; alone {alone[0]:.2f} + {alone[1]:.2f} s; "
            f"driftloop's adapters outside the loop {ours[0]:.2f} + {ours[1]:.2f} s"
        )
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    return [*lines, f"models alone / play {median(ratios):.3f}, median of {each} (bar: at least {BAR})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="other models or data, as for the command")
    options = parser.parse_args()
    words = asked_for(options.overrides, options.chains, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        asked = [composed(Path(folder), twin) for twin in twins(words, options.repeats)]
        record("overhead", [f"{options.chains} chains x {options.rounds} rounds", *measured(asked)])


if __name__ == "__main__":
    main()
