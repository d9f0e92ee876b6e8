"""Takes seeds into a run: opens every picture once, keeps its pixels, writes seeds.parquet.

A picture that cannot be read is found here, before any model works. Afterwards the run no longer needs the data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd

from driftloop.core.batches import batches
from driftloop.core.records import Seed
from driftloop.core.watch import Watch

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.store import Store

AT_ONCE = 256  # pictures held in memory together
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
    for some in batches(new, AT_ONCE if any(seed.picture for seed in new) else max(1, len(new))):
        watch.stop_if_asked()
        known = pd.concat([known, pd.DataFrame(_taken_in(store, some))], ignore_index=True)
        store.write_seeds(known)
        watch.advance(len(some))


def seed_of(row: Mapping[str, Any], store: Store) -> Seed:
    """The record of a row of seeds.parquet; its picture now comes from the run."""
    labels = {key.removeprefix("label_"): str(row[key]) for key in row if key.startswith("label_") and pd.notna(row[key])}
    text = {
        key: str(row[key]) for key in ("seed_id", "dataset", "concept_kind", "concept", "split", "source", "image", "error")
    }
    return Seed(
        **text,
        labels=labels,
        picture=(lambda: store.image(text["image"])) if text["image"] else None,
        caption=None if pd.isna(row["caption"]) else str(row["caption"]),
        image_sha256=None if pd.isna(row["image_sha256"]) else str(row["image_sha256"]),
    )


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
