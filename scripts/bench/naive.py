"""How much faster driftloop is than the obvious script with the same models, and how far their pictures and captions differ.

The script plays one chain after the other, one picture at a time, with the models as diffusers and transformers offer them:
no batches, no padding; the PNG is saved at once and a line appended to a CSV file. It uses the steps, guidance and size of the
config, and the random seeds that driftloop used, so that differences come from arithmetic alone (and go on growing through
the chain). driftloop's wall is intake and play; it is taken before and after the script. Loading is left out on both sides.

    python scripts/bench/naive.py              # the built-in models, 64 chains x 5 rounds
    python scripts/bench/naive.py --chains 8 --rounds 2
    python scripts/bench/naive.py generator=sdxl captioner=blip_large dataset=prompts dataset.file=p.txt
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _models import Bare, asked_for, twins, warm_bare, warm_players
from _play import composed, play, take_in
from _record import record
from PIL import Image

from driftloop.core.experiment import Experiment
from driftloop.core.records import Chain
from driftloop.engines.local import Shard, chains_of

BAR = 5.0
COLUMNS = ("chain", "round", "image", "caption")


def script(bare: Bare, chains: Sequence[Chain], noise: dict[tuple[str, int], int], rounds: int, folder: Path) -> float:
    """Seconds of the obvious script."""
    started = time.perf_counter()
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as table:
        lines = csv.writer(table)
        lines.writerow(COLUMNS)
        for number, chain in enumerate(chains):
            caption = chain.seed.caption
            if chain.seed.picture is not None:
                (caption,) = bare.describe([chain.seed.picture()])
            lines.writerow((chain.key, 0, "", caption))
            for round_ in range(1, rounds + 1):
                (image,) = bare.generate([str(caption)], [noise[chain.key, round_]])
                name = f"{number}_{round_}.png"
                image.save(folder / name)
                (caption,) = bare.describe([image])
                lines.writerow((chain.key, round_, name, caption))
                table.flush()
    return time.perf_counter() - started


def divergence(asked: Experiment, folder: Path) -> list[str]:
    """Shares of pictures and captions that differ between script and driftloop: in round 1, and in all rounds."""
    store = asked.store()
    ours = store.rounds(["chain", "round", "image", "caption"])
    theirs = pd.read_csv(folder / "results.csv", keep_default_na=False)
    both = ours.merge(theirs, on=["chain", "round"], suffixes=("", "_script"), validate="one_to_one")
    both = both[both["round"] > 0]
    pairs = zip(store.images(list(both["image"])), both["image_script"], strict=True)
    both["gap"] = [_gap(image, folder / name) for image, name in pairs]
    both["other_words"] = both["caption"] != both["caption_script"]
    return [_told(both[both["round"] == 1], "round 1"), _told(both, "all rounds")]


def _gap(image: Image.Image, script: Path) -> int:
    """The largest difference of a channel, in levels of 255."""
    with Image.open(script) as other:
        return int(np.abs(np.asarray(image, dtype=int) - np.asarray(other, dtype=int)).max())


def _told(rows: pd.DataFrame, name: str) -> str:
    return (
        f"{name}: of {len(rows)} pictures {(rows['gap'] > 0).mean():.1%} differ at all, {(rows['gap'] > 2).mean():.1%} by more "
        f"than 2 levels of 255 somewhere; {rows['other_words'].mean():.1%} of the captions differ"
    )


def measured(asked: Sequence[Experiment], folder: Path) -> list[str]:
    """driftloop, the script, driftloop again; the ratio is to the mean of the two."""
    models, bare = warm_players(asked[0])[0], warm_bare(asked[0])
    before = take_in(asked[0]) + play(asked[0], models)
    store = asked[0].store()
    rows = store.rounds(["chain", "round", "generator_seed"])
    drawn = rows[rows["round"] > 0]
    noise = dict(zip(zip(drawn["chain"], drawn["round"], strict=True), map(int, drawn["generator_seed"]), strict=True))
    wall = script(bare, chains_of(asked[0], store, Shard()), noise, asked[0].rounds, folder)
    after = take_in(asked[1]) + play(asked[1], models)
    return [
        f"driftloop {before:.2f} s before and {after:.2f} s after; obvious script {wall:.2f} s",
        *divergence(asked[0], folder),
        f"script / driftloop {2 * wall / (before + after):.2f} (bar: at least {BAR:g})",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="other models or data, as for the command")
    options = parser.parse_args()
    words = asked_for(options.overrides, options.chains, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        asked = [composed(Path(folder), twin) for twin in twins(words, 2)]
        record("naive", [f"{options.chains} chains x {options.rounds} rounds", *measured(asked, Path(folder))])


if __name__ == "__main__":
    main()
