"""Reads every picture of every round, the seeds' own included, with one instrument: a classifier and its locator."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from driftloop.core.attempts import Outcome, Room, attempt
from driftloop.core.batches import ahead, batches
from driftloop.core.records import Box, Classifier, Locator, MatchingClassifier, Reading, ReadingStatus, SubjectRule

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
    sizes = seed_sizes(store) if isinstance(classifier, MatchingClassifier) else {}
    locating, reading = Room(batch_size), Room(batch_size)
    with store.writer(folder) as writer:
        for keys, images in ahead(store.images, batches(list(todo), batch_size)):
            watch.stop_if_asked()
            seeds = [sizes.get(todo[key][0]["seed_id"], (0, 0)) for key in keys]
            sights = look(prepared(images, seeds, classifier), locator, locating)
            readings = read(sights, classifier, reading)
            watch.used("locator", locator)
            if any(sight.crop is not None for sight in sights):
                watch.used(f"classifier/{name}", classifier)
            for key, sight, found in zip(keys, sights, readings, strict=True):
                writer.add(_row(row, name, reading, sight) for row in todo[key] for reading in found)
            watch.advance(sum(len(todo[key]) for key in keys))
        writer.merge()


def seed_sizes(store: Store) -> dict[str, tuple[int, int]]:
    """seed_id -> width and height of its picture in pixels; (0, 0) where the seed is a text."""
    seeds = store.seeds()
    return dict(zip(seeds["seed_id"], zip(seeds["width"], seeds["height"], strict=True), strict=True))


def prepared(images: Sequence[Image], seeds: Sequence[tuple[int, int]], classifier: Classifier) -> list[Image]:
    """The pictures as the classifier wants them before anybody is looked for in them; most take them as they are."""
    return classifier.prepare(images, seeds) if isinstance(classifier, MatchingClassifier) else list(images)


def look(images: Sequence[Image], locator: Locator, room: Room | None = None) -> list[Sight]:
    """The subject of each picture by the locator's rule, or why there is none."""
    found = attempt(images, lambda some, _: locator.locate(some), lambda _: None, retries=0, room=room)
    return [_sight(image, outcome, locator.subject) for image, outcome in zip(images, found, strict=True)]


def subject_of(boxes: Sequence[Box], rule: SubjectRule, size: tuple[int, int]) -> Box | ReadingStatus:
    """The box that is read (see SubjectRule), of a picture of `size` (width, height)."""
    mine = [box for box in boxes if box.kind == rule.kind]
    sure = [box for box in mine if box.score >= rule.threshold and min(box.width, box.height) >= rule.min_size]
    if not sure:
        missing: ReadingStatus = "no_face" if rule.kind == "face" else "no_person"
        return "low_confidence" if mine else missing
    ranks = [_rank(box, rule, size) for box in sure]
    first = [box for box, rank in zip(sure, ranks, strict=True) if rank == min(ranks)]
    return first[0] if len(first) == 1 else "several"


def cut(image: Image, box: Box, margin: float) -> Image:
    """The box, widened on each side by `margin` of its own width or height, as far as there is picture; at least a pixel."""
    wider, taller = margin * box.width, margin * box.height
    left, top = (math.floor(max(0, edge + 0.5)) for edge in (box.left - wider, box.top - taller))
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    right, bottom = math.floor(box.right + wider + 0.5), math.floor(box.bottom + taller + 0.5)
    return image.crop((left, top, max(left + 1, min(right, image.width)), max(top + 1, min(bottom, image.height))))


def read(sights: Sequence[Sight], classifier: Classifier, room: Room | None = None) -> list[list[Reading]]:
    """The classifier's readings of the subjects; a picture without one gets its status for every attribute."""
    crops = [sight.crop for sight in sights if sight.crop is not None]
    outcomes = iter(attempt(crops, lambda some, _: classifier.read(some), lambda _: None, retries=0, room=room))
    return [_readings(next(outcomes) if sight.crop else None, sight, classifier) for sight in sights]


def _rank(box: Box, rule: SubjectRule, size: tuple[int, int]) -> float:
    """The subject has the smallest."""
    if rule.choose == "largest":
        return -box.area
    if rule.choose == "centre":
        return math.dist((box.left + box.right, box.top + box.bottom), size)
    return 0.0


def _sight(image: Image, outcome: Outcome[list[Box]], rule: SubjectRule) -> Sight:
    if outcome.result is None:
        return Sight(None, "failed", None, None)
    faces, persons = (_count(outcome.result, kind, rule) for kind in ("face", "person"))
    subject = subject_of(outcome.result, rule, image.size)
    if isinstance(subject, str):
        return Sight(None, subject, faces, persons)
    return Sight(cut(image, subject, rule.margin), "ok", faces, persons)


def _count(boxes: Sequence[Box], kind: str, rule: SubjectRule) -> int | None:
    """How many of a kind were found; None where the locator does not look for it."""
    return sum(box.kind == kind and box.score >= rule.threshold for box in boxes) if kind in rule.sought else None


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
