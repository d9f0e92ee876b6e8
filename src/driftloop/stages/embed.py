"""Embeds every picture and caption of every round, the seeds' own included, with one encoder; a part of measuring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from driftloop.core.attempts import Outcome, Room, attempt
from driftloop.core.batches import ahead, batches
from driftloop.core.records import Encoder

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.store import Store
    from driftloop.core.watch import Watch

T = TypeVar("T")
Row = dict[str, Any]
Vector = NDArray[np.float16]
Told = tuple[Vector, bool]


def embeddable(store: Store, chains: Collection[str], rounds: int) -> list[Row]:
    """The rows of rounds/ that have a picture (black ones left out, as `image` "") or a caption ("" where there is none)."""
    rows = store.rounds(["seed_id", "replicate", "chain", "round", "image", "status", "caption"])
    rows = rows[(rows["round"] <= rounds) & rows["chain"].isin(chains)]
    rows = rows.assign(
        image=rows["image"].where(rows["status"] != "black_image", ""), caption=rows["caption"].fillna("").str.strip()
    )
    there = rows[(rows["image"] != "") | (rows["caption"] != "")]
    return [{str(key): value for key, value in row.items()} for row in there.to_dict("records")]


def unembedded(store: Store, folder: str, encoder: Encoder, rows: Sequence[Row], *, again: bool = False) -> list[list[Row]]:
    """The rows with something for the encoder that are not in `folder` yet; those that show the same picture together.

    With `again`, an embedding that failed does not count.
    """
    found = store.rows(folder, ["chain", "round", "status"])
    done = (found.filter(pc.field("status") != "failed") if again else found).to_pydict()
    have = set(zip(done["chain"], done["round"], strict=True))
    alike: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        key = (row["chain"], row["round"])
        if key not in have and (_picture(row, encoder) or _caption(row, encoder)):
            alike[_picture(row, encoder) or key].append(row)
    return list(alike.values())


def embed(
    *, store: Store, name: str, folder: str, encoder: Encoder, todo: Sequence[Sequence[Row]], batch_size: int, watch: Watch
) -> None:
    """Writes one row a (chain, round) of `todo` (see `unembedded`) into `folder`."""
    seeing, hearing = Room(batch_size), Room(batch_size)
    with store.writer(folder) as writer:
        for groups, images in ahead(partial(_shown, store, encoder), batches(todo, batch_size)):
            watch.stop_if_asked()
            rows = [row for group in groups for row in group]
            seen = _each(images, partial(_seen, encoder.embed_images), seeing)
            shown = [outcome for outcome, group in zip(seen, groups, strict=True) for _ in group]
            told = _each([_caption(row, encoder) for row in rows], partial(_told, encoder.embed_texts), hearing)
            watch.used(f"encoder/{name}", encoder)
            writer.add(_row(row, name, one, other) for row, one, other in zip(rows, shown, told, strict=True))
            watch.advance(len(rows))
        writer.merge()


def _picture(row: Row, encoder: Encoder) -> str:
    return "" if encoder.embed_images is None else str(row["image"])


def _caption(row: Row, encoder: Encoder) -> str:
    return "" if encoder.embed_texts is None else str(row["caption"])


def _shown(store: Store, encoder: Encoder, groups: Sequence[Sequence[Row]]) -> list[Image | None]:
    """The picture of each group, None where it has none for the encoder."""
    keys = [_picture(group[0], encoder) for group in groups]
    images = iter(store.images([key for key in keys if key]))
    return [next(images) if key else None for key in keys]


def _each(items: Sequence[Any], call: Callable[[Sequence[Any]], Iterable[T]], room: Room) -> list[Outcome[T] | None]:
    """What becomes of each item that there is; None where there is none."""
    there = [item for item in items if item]
    outcomes = iter(attempt(there, lambda some, _: list(call(some)), lambda _: None, retries=0, room=room))
    return [next(outcomes) if item else None for item in items]


def _seen(embed_images: Any, images: Sequence[Image]) -> list[Vector]:
    return _units(embed_images(images))


def _told(embed_texts: Any, texts: Sequence[str]) -> list[Told]:
    found = embed_texts(texts)
    return [(vector, bool(cut)) for vector, cut in zip(_units(found.vectors), found.cut, strict=True)]


def _units(vectors: NDArray[np.float32]) -> list[Vector]:
    """Each at length 1. ValueError for what has no direction."""
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or not np.isfinite(lengths).all() or (lengths == 0).any():
        raise ValueError(f"an encoder gives rows of finite numbers, not all 0; got {vectors.shape}")
    return list((vectors / lengths).astype(np.float16))


def _row(row: Row, name: str, seen: Outcome[Vector] | None, told: Outcome[Told] | None) -> Row:
    text, cut = told.result if told is not None and told.result is not None else (None, None)
    failed = any(outcome is not None and outcome.result is None for outcome in (seen, told))
    return {key: row[key] for key in ("seed_id", "replicate", "chain", "round")} | {
        "encoder": name,
        "status": "failed" if failed else "ok",
        "image": None if seen is None else seen.result,
        "text": text,
        "text_cut": cut,
    }
