"""Takes seeds into a run: opens every picture once, keeps its pixels, writes seeds.parquet.

A picture that cannot be read is found here, before any model works. Afterwards the run no longer needs the data set.
Rounds that were played elsewhere come in with their seed: their rows are those of rounds/, and `play` finds them finished.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from driftloop.core.batches import batches
from driftloop.core.packs import is_black, pixel_hash
from driftloop.core.records import Chain, Recorded, Seed
from driftloop.core.watch import Watch

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.store import Store, Writer

AT_ONCE = 256  # seeds, and their pictures, held in memory together
ROWS_AT_ONCE = 4096
READERS = 4
SEED_COLUMNS = ("seed_id", "dataset", "concept_kind", "concept", "caption", "split", "source", "image", "image_sha256", "error")


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
        taken_in = _taken_in(store, some)
        _record(store, some, taken_in)  # before the seed is in the table: what is there has its rounds
        waiting.append(pd.DataFrame(taken_in))
        if number * AT_ONCE >= len(new) or time.monotonic() - written >= store.flush_seconds:
            waiting = [pd.concat(waiting, ignore_index=True)]  # the table is written whole: now and then, not every time
            store.write_seeds(waiting[0])
            written = time.monotonic()
        watch.advance(len(some))


def seeds_of(store: Store) -> Iterator[Seed]:
    """The seeds that were taken in; their pictures now come from the run."""
    table = store.seeds()
    for start in range(0, len(table), ROWS_AT_ONCE):
        some = table[start : start + ROWS_AT_ONCE]
        named = {str(name): some[name].astype(object).tolist() for name in some.columns}  # column by column: rows take long
        labels = {name.removeprefix("label_"): named[name] for name in named if name.startswith("label_")}
        places = named.get("place", [None] * len(some))
        for number in range(len(some)):
            row = {name: named[name][number] for name in SEED_COLUMNS}
            own = {name: _shared(texts[number]) for name, texts in labels.items() if _is_text(texts[number])}
            yield _seed(row, own, places[number], store)


def _seed(row: Mapping[str, Any], labels: Mapping[str, str], place: Any, store: Store) -> Seed:
    """The record of a row of seeds.parquet. Texts that many seeds share are one object."""
    image = str(row["image"])
    return Seed(
        seed_id=str(row["seed_id"]),
        dataset=_shared(row["dataset"]),
        concept_kind=_shared(row["concept_kind"]),
        concept=_shared(row["concept"]),
        labels=labels,
        picture=partial(store.image, image) if image else None,
        caption=row["caption"] if _is_text(row["caption"]) else None,
        split=_shared(row["split"]),
        source=_shared(row["source"]),
        image=image,
        image_sha256=row["image_sha256"] if _is_text(row["image_sha256"]) else None,
        error=_shared(row["error"]),
        place=None if pd.isna(place) else int(place),
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
        "place": seed.place,
    }


def _record(store: Store, seeds: Sequence[Seed], taken_in: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rounds that the seeds bring along; a part holds pictures of one round, so each round has its writer."""
    with ExitStack() as stack:
        writers: dict[int, Writer] = defaultdict(lambda: stack.enter_context(store.writer("rounds")))
        for seed, row in zip(seeds, taken_in, strict=True):
            parents = dict.fromkeys((found.replicate for found in seed.recorded), row["image_sha256"])
            for found in sorted(seed.recorded, key=lambda found: (found.round, found.replicate)):
                made = _seed_round(row) if found.round == 0 else _picture_round(found, writers[found.round])
                parent = parents[found.replicate] if found.round else None
                writers[found.round].add([_recorded_row(seed, found) | made | {"parent_sha256": parent}])
                parents[found.replicate] = made["image_sha256"]


def _recorded_row(seed: Seed, found: Recorded) -> dict[str, Any]:
    key = {"seed_id": seed.seed_id, "replicate": found.replicate, "chain": Chain(seed, found.replicate).key}
    return key | {"round": found.round, "caption": found.caption, "attempts": 1}


def _seed_round(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("image", "image_sha256", "error")} | {"status": "failed" if row["error"] else "ok"}


def _picture_round(found: Recorded, writer: Writer) -> dict[str, Any]:
    missing = {"image": "", "image_sha256": None, "status": "failed"}
    if found.picture is None:
        return missing | {"error": found.error}
    try:
        image = found.picture().convert("RGB")
    except Exception as error:  # noqa: BLE001 (as for the picture of a seed)
        return missing | {"error": f"unreadable picture: {error}"[:500]}
    sha256 = pixel_hash(image)
    key = writer.picture(image, sha256, f"round-{found.round:03d}")
    return {"image": key, "image_sha256": sha256, "status": "black_image" if is_black(image) else "ok", "error": ""}
