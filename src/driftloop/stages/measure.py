"""Reads every picture of every round, the seeds' own included, with one instrument: a classifier and its locator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from driftloop.core.attempts import Outcome, attempt
from driftloop.core.batches import ahead, batches
from driftloop.core.records import Box, Classifier, Locator, Reading, ReadingStatus

if TYPE_CHECKING:
    from PIL.Image import Image

    from driftloop.core.store import Store
    from driftloop.core.watch import Watch

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a locator found in one picture: the subject's crop, or a status that says why there is none."""

    crop: Image | None
    status: ReadingStatus
    n_faces: int | None
    n_persons: int | None


def pictures(store: Store, chains: Collection[str], rounds: int) -> list[Row]:
    """The rows of rounds/ that show a picture to read: every round's, the seeds' own included, black ones left out."""
    rows = store.rounds(["seed_id", "replicate", "chain", "round", "image", "status"])
    shown = (rows["image"] != "") & (rows["status"] != "black_image")
    wanted = rows[shown & (rows["round"] <= rounds) & rows["chain"].isin(chains)]
    return [{str(key): value for key, value in row.items()} for row in wanted.to_dict("records")]


def unread(store: Store, folder: str, rows: Sequence[Row], *, again: bool = False) -> dict[str, list[Row]]:
    """Image key -> the rows that show it and are not read into `folder` yet. Replicates share their seed's picture.

    With `again`, a reading that failed does not count.
    """
    found = store.rows(folder, ["chain", "round", "status"])
    read = (found.filter(pc.field("status") != "failed") if again else found).to_pydict()
    have = set(zip(read["chain"], read["round"], strict=True))
    todo: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if (row["chain"], row["round"]) not in have:
            todo[str(row["image"])].append(row)
    return todo


def measure(
    *,
    store: Store,
    name: str,
    folder: str,
    classifier: Classifier,
    locator: Locator,
    todo: Mapping[str, Sequence[Row]],
    batch_size: int,
    watch: Watch,
) -> None:
    """Writes one reading a picture and attribute into `folder`, for the pictures of `todo` (see `unread`)."""
    with store.writer(folder) as writer:
        for keys, images in ahead(store.images, batches(list(todo), batch_size)):
            watch.stop_if_asked()
            sights = look(images, locator)
            readings = read(sights, classifier)
            for key, sight, found in zip(keys, sights, readings, strict=True):
                writer.add(_row(row, name, reading, sight) for row in todo[key] for reading in found)
            watch.advance(sum(len(todo[key]) for key in keys))
        writer.merge()


def look(images: Sequence[Image], locator: Locator) -> list[Sight]:
    """The subject of each picture: the largest located box by area; two of the same area are `several`."""
    found = attempt(images, lambda some, _: locator.locate(some), lambda _: None, retries=0)
    return [_sight(image, outcome) for image, outcome in zip(images, found, strict=True)]


def read(sights: Sequence[Sight], classifier: Classifier) -> list[list[Reading]]:
    """The classifier's readings of the subjects; a picture without one gets its status for every attribute."""
    crops = [sight.crop for sight in sights if sight.crop is not None]
    outcomes = iter(attempt(crops, lambda some, _: classifier.read(some), lambda _: None, retries=0))
    return [_readings(next(outcomes) if sight.crop else None, sight, classifier) for sight in sights]


def _sight(image: Image, outcome: Outcome[list[Box]]) -> Sight:
    if outcome.result is None:
        return Sight(None, "failed", None, None)
    boxes = sorted(outcome.result, key=lambda box: -box.area)
    if boxes and boxes[0].kind == "whole":
        return Sight(image, "ok", None, None)
    faces, persons = (sum(box.kind == kind for box in boxes) for kind in ("face", "person"))
    if not boxes:
        return Sight(None, "no_person", faces, persons)
    if len(boxes) > 1 and boxes[0].area == boxes[1].area:
        return Sight(None, "several", faces, persons)
    best = boxes[0]
    crop = image.crop((round(best.left), round(best.top), round(best.right), round(best.bottom)))
    return Sight(crop, "ok", faces, persons)


def _readings(outcome: Outcome[list[Reading]] | None, sight: Sight, classifier: Classifier) -> list[Reading]:
    if outcome is not None and outcome.result is not None:
        return outcome.result
    status: ReadingStatus = "failed" if outcome is not None else sight.status
    return [Reading(attribute=attribute, status=status) for attribute in classifier.categories]


def _row(row: Row, name: str, reading: Reading, sight: Sight) -> Row:
    return {key: row[key] for key in ("seed_id", "replicate", "chain", "round")} | {
        "classifier": name,
        "attribute": reading.attribute,
        "status": reading.status,
        "label": reading.label,
        "probability": reading.probability,
        "probabilities": reading.probabilities,
        "years": reading.years,
        "n_faces": sight.n_faces,
        "n_persons": sight.n_persons,
    }
