"""Rounds that were played elsewhere as seeds with a history, whatever files they were found in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from driftloop.core.records import Recorded, Seed
from driftloop.datasets.checks import fingerprint, not_empty
from driftloop.datasets.pictures import picture
from driftloop.datasets.tree import DataError, Member, some

ABSENT = "not in the recording"


@dataclass(frozen=True, slots=True)
class Line:
    """One chain-round as it was found; `place` is for messages."""

    seed_id: str
    replicate: int
    round: int
    image: Member | None
    caption: str | None
    place: str


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a seed beside its rounds."""

    concept: str = "image"
    labels: Mapping[str, str] = field(default_factory=dict)
    split: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """All chain-rounds by seed, replicate and round."""

    lines: Mapping[tuple[str, int, int], Line]

    @property
    def seed_ids(self) -> list[str]:
        return sorted({seed_id for seed_id, _, _ in self.lines})

    @property
    def replicates(self) -> int:
        return 1 + max(replicate for _, replicate, _ in self.lines)

    @property
    def rounds(self) -> int:
        """The number of the last round."""
        return max(number for _, _, number in self.lines)

    def start(self, seed_id: str) -> Line:
        """The round 0 that all chains of a seed begin with."""
        found = [self.lines[key] for number in range(self.replicates) if (key := (seed_id, number, 0)) in self.lines]
        if not found:
            raise DataError(f"{seed_id} has no round 0: its image, or the prompt it began with as a caption")
        pictured = {line.image.name for line in found if line.image is not None}
        if len(pictured) > 1:
            raise DataError(f"{seed_id} begins with different images ({some(pictured)}); these are different seeds")
        return next((line for line in found if line.image is not None), found[0])

    def absent(self) -> Iterator[tuple[str, int, int]]:
        """Chain-rounds that others have and these have not, or whose picture is not there."""
        for seed_id in self.seed_ids:
            for replicate in range(self.replicates):
                for number in range(1, self.rounds + 1):
                    line = self.lines.get((seed_id, replicate, number))
                    if line is None or line.image is None:
                        yield seed_id, replicate, number


def recording(lines: Iterable[Line], missing: str, where: str) -> Recording:
    """The lines by key, each there once; an absent chain-round is an error, or will be a failed row when skipped."""
    by_key: dict[tuple[str, int, int], Line] = {}
    for line in lines:
        other = by_key.setdefault((line.seed_id, line.replicate, line.round), line)
        if other is not line:
            what = f"round {line.round} of {line.seed_id}, replicate {line.replicate},"
            raise DataError(f"{what} is there twice: {other.place} and {line.place}")
    if not by_key:
        raise DataError(f"no rounds: {where}")
    found = Recording(by_key)
    absent = [f"{seed_id} replicate {replicate} round {number}" for seed_id, replicate, number in found.absent()]
    if absent and missing == "error":
        raise DataError(f"{where}: pictures are missing ({some(absent)}); missing=skip takes these as failed")
    return found


def seeds(found: Recording, about: Mapping[str, About], name: str, concept_kind: str) -> list[Seed]:
    """The seeds with their histories. A seed whose round 0 has no image began with its caption."""
    return not_empty(
        [_seed(found, seed_id, about.get(seed_id, About()), name, concept_kind) for seed_id in found.seed_ids], name
    )


def notes(found: Recording) -> list[str]:
    """How far the recording goes, and what is missing of it."""
    extent = f"{len(found.seed_ids)} seeds, {found.replicates} replicates, rounds 0 to {found.rounds}"
    absent = len(list(found.absent()))
    silent = sum(line.caption is None for line in found.lines.values())
    return [f"recorded: {extent}; {absent} chain-rounds without a picture, {silent} without a caption"]


def history_fingerprint(found: Recording, listed: Sequence[Seed], concept_kind: str) -> str:
    """The seeds' fingerprint, with names and sizes of all pictures and every caption."""
    digest = hashlib.sha256()
    for key, line in sorted(found.lines.items()):
        image = None if line.image is None else [line.image.name.rsplit("/", 1)[-1], line.image.size]
        digest.update(json.dumps([*key, image, line.caption]).encode() + b"\n")
    sizes = {line.image.name: line.image.size for line in found.lines.values() if line.image is not None}
    return fingerprint(listed, sizes, concept_kind=concept_kind, rounds=digest.hexdigest())


def _seed(found: Recording, seed_id: str, about: About, name: str, concept_kind: str) -> Seed:
    start = found.start(seed_id)
    if start.image is None and start.caption is None:
        raise DataError(f"{start.place}: round 0 of {seed_id} has neither an image nor a caption")
    return Seed(
        seed_id=seed_id,
        dataset=name,
        concept_kind=concept_kind,
        concept=about.concept,
        labels=about.labels,
        picture=None if start.image is None else partial(picture, start.image),
        caption=start.caption if start.image is None else None,
        split=about.split,
        source=start.place if start.image is None else start.image.name,
        recorded=[_recorded(found, seed_id, r, n) for r in range(found.replicates) for n in range(found.rounds + 1)],
    )


def _recorded(found: Recording, seed_id: str, replicate: int, number: int) -> Recorded:
    line = found.lines.get((seed_id, replicate, number))
    caption = line.caption if line is not None else None
    if number == 0:
        start = found.start(seed_id)
        return Recorded(replicate, 0, caption=start.caption if line is None and start.image is None else caption)
    if line is None or line.image is None:
        return Recorded(replicate, number, caption=caption, error=ABSENT)
    return Recorded(replicate, number, partial(picture, line.image), caption)
