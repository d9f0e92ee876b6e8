"""Takes seeds into a run: opens every picture once, keeps its pixels, writes seeds.parquet.

A picture that cannot be read is found here, before any model works. Afterwards the run no longer needs the data set.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from driftloop.core.batches import batches
from driftloop.core.records import Seed
from driftloop.core.watch import Watch

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.store import Store

AT_ONCE = 256  # seeds, and their pictures, held in memory together
ROWS_AT_ONCE = 4096
READERS = 4


def intake(store: Store, seeds: Sequence[Seed], watch: Watch, *, again: bool = False) -> None:
    """Adds the seeds that the run does not have yet. Images are kept as they are, RGB, in images/round-000.

    `again` opens once more what could not be opened before.
    """
    known = store.seeds()
    if again and len(known):
        known = known[known["error"] == ""]
    have = set(known["seed_id"])
    new = [seed for seed in seeds if seed.seed_id not in have]
    watch.start("seeds", len(seeds), len(seeds) - len(new))
    written, waiting = time.monotonic(), [known]
    for number, some in enumerate(batches(new, AT_ONCE), 1):
        watch.stop_if_asked()
        waiting.append(pd.DataFrame(_taken_in(store, some)))
        if number * AT_ONCE >= len(new) or time.monotonic() - written >= store.flush_seconds:
            waiting = [pd.concat(waiting, ignore_index=True)]  # the table is written whole: now and then, not every time
            store.write_seeds(waiting[0])
            written = time.monotonic()
        watch.advance(len(some))


def seeds_of(store: Store) -> Iterator[Seed]:
    """The seeds that were taken in."""
    table = store.seeds()
    for start in range(0, len(table), ROWS_AT_ONCE):
        for row in table[start : start + ROWS_AT_ONCE].to_dict("records"):
            yield seed_of(row, store)


def seed_of(row: Mapping[Any, Any], store: Store) -> Seed:
    """The record of a row of seeds.parquet; its picture now comes from the run. Texts that many seeds share are one object."""
    labels = {
        key.removeprefix("label_"): _shared(text) for key, text in row.items() if key.startswith("label_") and _is_text(text)
    }
    shared = {key: _shared(row[key]) for key in ("dataset", "concept_kind", "concept", "split", "source", "error")}
    image = str(row["image"])
    return Seed(
        seed_id=str(row["seed_id"]),
        **shared,
        image=image,
        labels=labels,
        picture=partial(store.image, image) if image else None,
        caption=row["caption"] if _is_text(row["caption"]) else None,
        image_sha256=row["image_sha256"] if _is_text(row["image_sha256"]) else None,
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)  # what is missing comes back as None or NaN


def _shared(text: object) -> str:
    return sys.intern(str(text))


def _taken_in(store: Store, seeds: Sequence[Seed]) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(READERS) as pool:
        opened = list(pool.map(_open, seeds))
    keys = iter(store.keep([image for image, _ in opened if image], "round-000"))
    return [
        _row(seed, image, next(keys) if image else ("", None), error)
        for seed, (image, error) in zip(seeds, opened, strict=True)
    ]


def _open(seed: Seed) -> tuple[Image | None, str]:
    if seed.picture is None:
        return None, ""
    try:
        return seed.picture().convert("RGB"), ""
    except Exception as error:  # noqa: BLE001 (whatever a loader or Pillow raises for a damaged file belongs to that seed)
        return None, f"unreadable picture {seed.source}: {error}"[:500]


def _row(seed: Seed, image: Image | None, key: tuple[str, str | None], error: str) -> dict[str, Any]:
    return {
        "seed_id": seed.seed_id,
        "dataset": seed.dataset,
        "concept_kind": seed.concept_kind,
        "concept": seed.concept,
        **{f"label_{attribute}": label for attribute, label in seed.labels.items()},
        "image": key[0],
        "image_sha256": key[1],
        "width": image.width if image else 0,
        "height": image.height if image else 0,
        "split": seed.split,
        "source": seed.source,
        "caption": seed.caption,
        "error": error,
    }
