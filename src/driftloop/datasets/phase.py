"""PHASE (Garcia et al., CVPR 2023): people in photographs of Google Conceptual Captions, with perceived attributes.

For non-commercial research only and not to be passed on; everyone brings a copy. Annotations are `phase_gcc_{train,val}_
{regions,all}_*.json`, images `<image_id>.png` in folders of their split, unpacked or in zips.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from driftloop.core.records import Seed
from driftloop.datasets.boxes import Region, area, convention, corners, fits
from driftloop.datasets.checks import fingerprint, matched, not_empty, one_of, plain_id
from driftloop.datasets.pictures import SUFFIXES, cropped, picture, size
from driftloop.datasets.table import text
from driftloop.datasets.tree import DataError, Member, Tree, some

KNOWN: Mapping[str, tuple[str, ...]] = {
    "gender": ("male", "female", "unsure"),
    "age": ("baby", "child", "young", "adult", "senior", "unsure"),
    "skintone": ("lighter", "darker", "unsure"),
    "ethnicity": (
        "black", "east asian", "indian", "latino", "middle eastern", "southeast asian", "white", "other", "unsure",
    ),
    "emotion": ("happiness", "sadness", "fear", "anger", "neutral", "unsure"),
    "activity": (
        "helping and caring", "eating", "household", "dance and music", "personal care", "posing", "sports",
        "transportation", "work", "other", "unsure",
    ),
}  # fmt: skip
"""Attribute -> categories of the set. Ages: 0-2, 3-14, 15-29, 30-64, 65 and more; other bins than any other set has."""
LEVELS = tuple(tuple(f"{prefix}{level}" for prefix in ("", "type ", "level ")) for level in range(1, 7))
SPELLINGS: Mapping[str, Mapping[str, str]] = {
    "age": {"children": "child", "young adult": "young"},
    "activity": {"music": "dance and music"},
    "skintone": {name: "lighter" if level < 3 else "darker" for level, names in enumerate(LEVELS) for name in names},
}
"""Other spellings met in copies. Six levels of skin tone are Fitzpatrick's; I–III are lighter and IV–VI darker, as in
Buolamwini and Gebru (2018)."""
DISAGREEMENT = "disagreement"
NO_ANSWER = (DISAGREEMENT, "unsure")
CONCEPT_KINDS = ("emotion", "activity")
DROPPED = ("gender", "age")
"""Attributes, next to the concept, whose unsure seeds `unsure=drop` leaves out."""

FILE = re.compile(r"phase_gcc_(train|val)_(regions|all)[\w.-]*\.json", re.IGNORECASE)
PERSON = re.compile(r"person_?\d+", re.IGNORECASE)
SPLIT = re.compile(r"(?:^|[_-])(train|val)(?:idation)?(?:[_-]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Person:
    """One person of an image: the region as it is written, and the labels; None where the set has none."""

    region: Region | None
    labels: Mapping[str, str] | None


Key = tuple[str, str]
"""Split and id of an image."""


class Phase:
    """`root` is a folder or a zip with the images; `annotations` another one with the json files, where `root` has none.

    concept_kind: emotion or activity, the concept of a run; the other stays a label.
    labels: regions (majority votes as published) or all (every annotator's; the majority is taken here).
    subject: largest (the person with the largest region; two of one area are left out) or only (images of one person).
    crop: person (its region, cut at the edges of the picture) or whole.
    box: how regions are written, xywh or xyxy; detect tries both readings on every box of the files read.
    names: attribute -> {string: category}, for strings that this loader does not know.
    unsure=drop leaves out seeds whose concept, gender or age is unsure or in disagreement; else these are categories.
    missing: whether annotations without an image, or the reverse, are an error or skipped with a warning.
    What was detected, mapped and left out is in `notes`.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        concept_kind: str = "emotion",
        labels: str = "regions",
        subject: str = "largest",
        crop: str = "person",
        box: str = "detect",
        names: Mapping[str, Mapping[str, str]] | None = None,
        split: str = "all",
        unsure: str = "keep",
        missing: str = "error",
        annotations: str | Path | None = None,
    ) -> None:
        self.concept_kind = one_of("concept_kind", concept_kind, CONCEPT_KINDS)
        self._labels = one_of("labels", labels, ("regions", "all"))
        self._subject = one_of("subject", subject, ("largest", "only"))
        self._crop = one_of("crop", crop, ("person", "whole"))
        self._box = one_of("box", box, ("detect", "xywh", "xyxy"))
        self._splits = ("train", "val") if one_of("split", split, ("all", "train", "val")) == "all" else (split,)
        self._unsure = one_of("unsure", unsure, ("keep", "drop"))
        self._missing = one_of("missing", missing, ("error", "skip"))
        self._vocabulary = Vocabulary(names or {})
        self._tree = Tree(root)
        self._annotations = self._tree if annotations is None else Tree(annotations)
        self._notes: list[str] = []

    def fingerprint(self) -> str:
        sizes = {seed.source: self._tree.size(seed.source) for seed in self._seeds}
        options = {"crop": self._crop, "box": self._convention, "regions": json.dumps(self._regions, sort_keys=True)}
        return fingerprint(self._seeds, sizes, concept_kind=self.concept_kind, **options)

    def load(self) -> list[Seed]:
        return list(self._seeds)

    def notes(self) -> list[str]:
        """What was detected and mapped, and how many images were left out and why."""
        return [f"PHASE: {len(self._seeds)} seeds of {len(self._people)} annotated images", *self._notes]

    @cached_property
    def _seeds(self) -> list[Seed]:
        by_id = {_seed_id(key): key for key in self._people}
        pictured = {_seed_id(key) for key in self._pictures}
        left_out = Counter[str]()
        seeds = []
        for seed_id in matched(by_id, pictured, self._missing):
            found = self._seed(seed_id, by_id[seed_id])
            if isinstance(found, Seed):
                seeds.append(found)
            else:
                left_out[found] += 1
        self._notes += [f"PHASE: left out {count} images: {reason}" for reason, count in left_out.most_common()]
        return not_empty(seeds, f"{self._tree.root} has none with split in {'/'.join(self._splits)} ({dict(left_out)})")

    def _seed(self, seed_id: str, key: Key) -> Seed | str:
        """The seed of an image, or why it has none."""
        chosen = self._chosen(self._people[key])
        if isinstance(chosen, str):
            return chosen
        labels = chosen.labels or {}
        if self.concept_kind not in labels:
            return f"the subject has no {self.concept_kind} label"
        if self._unsure == "drop" and any(labels.get(name) in NO_ANSWER for name in (self.concept_kind, *DROPPED)):
            return f"unsure or disagreement about {self.concept_kind}, gender or age (unsure=drop)"
        member = self._pictures[key]
        return Seed(
            seed_id=seed_id,
            dataset="phase",
            concept_kind=self.concept_kind,
            concept=labels[self.concept_kind],
            labels=labels,
            picture=partial(picture, member) if self._crop == "whole" else partial(cropped, member, self._corners(chosen)),
            split=key[0],
            source=member.name,
        )

    def _chosen(self, persons: Sequence[Person]) -> Person | str:
        """The subject of an image, or why it has none."""
        if self._subject == "only" and len(persons) != 1:
            return "not exactly one person (subject=only)"
        areas = [(area(person.region, self._convention), person) for person in persons if person.region is not None]
        located = sorted((pair for pair in areas if pair[0] > 0), key=lambda pair: -pair[0])
        if not located:
            return "no person with a region"
        if len(located) > 1 and located[0][0] == located[1][0]:
            return "several persons of the same size"
        return located[0][1]

    def _corners(self, person: Person) -> Region:
        assert person.region is not None  # noqa: S101 (a chosen person has one)
        return corners(person.region, self._convention)

    @cached_property
    def _convention(self) -> str:
        """xywh or xyxy: as the config says, or as the boxes of all files read say."""
        if self._box != "detect":
            return self._box
        sizes = {key: size(member) for key, member in self._pictures.items() if key in self._people}
        counts = fits(
            (person.region, shape)
            for key, shape in sizes.items()
            for person in self._people[key]
            if person.region is not None and shape is not None
        )
        found = convention(counts)
        self._notes.append(f"PHASE: regions are {found}: {counts}")
        return found

    @cached_property
    def _regions(self) -> dict[str, list[Region | None]]:
        return {_seed_id(key): [person.region for person in persons] for key, persons in self._people.items()}

    @cached_property
    def _people(self) -> dict[Key, list[Person]]:
        """The persons of every annotated image of the splits asked for."""
        people: dict[Key, list[Person]] = {}
        for split, member in self._files():
            for image, entry in _entries(member):
                people[split, _bare(image)] = list(self._persons(entry, f"{member.name}: {image}"))
        self._vocabulary.check(self._annotations.root)
        persons = [person for listed in people.values() for person in listed]
        bare = sum(person.region is None for person in persons), sum(person.labels is None for person in persons)
        self._notes.append(f"PHASE: {len(persons)} persons, {bare[0]} without a region, {bare[1]} without annotations")
        self._notes += self._vocabulary.notes()
        return people

    def _files(self) -> Iterator[tuple[str, Member]]:
        """The annotation file of each split, of the kind asked for."""
        found: dict[Key, list[Member]] = defaultdict(list)
        for name, member in self._annotations.members.items():
            if match := FILE.fullmatch(PurePosixPath(name).name):
                found[match[1].lower(), match[2].lower()].append(member)
        for split in self._splits:
            several = found.get((split, self._labels), [])
            if len({member.read() for member in several}) > 1:
                raise DataError(f"several annotation files of {split} ({some(one.name for one in several)}); keep one")
            if several:
                yield split, several[0]
        if not any((split, self._labels) in found for split in self._splits):
            raise DataError(self._no_file(found))

    def _no_file(self, found: Iterable[Key]) -> str:
        looked = ", ".join(f"phase_gcc_{split}_{self._labels}_20221101.json" for split in self._splits)
        others = sorted({kind for split, kind in found if split in self._splits})
        hint = f" There are files of the other kind: labels={others[0]} reads them." if others else ""
        return f"no annotations in {self._annotations.root}: looked for {looked}.{hint} Found {some(self._annotations.names())}"

    def _persons(self, entry: Mapping[str, Any], place: str) -> Iterator[Person]:
        for name, said in entry.items():
            if PERSON.fullmatch(name):
                if not isinstance(said, Mapping):
                    raise DataError(f"{place}: {name} must be an object with region and annotations")
                yield Person(_region(said.get("region")), self._voted(said.get("annotations"), f"{place}: {name}"))

    def _voted(self, annotations: Any, place: str) -> dict[str, str] | None:
        """One label an attribute: what more than half of its annotators say, else "disagreement"."""
        answers = [annotations] if isinstance(annotations, Mapping) else annotations
        if not answers:
            return None
        if not (isinstance(answers, list) and all(isinstance(answer, Mapping) for answer in answers)):
            raise DataError(f"{place}: annotations must be an object or a list of objects")
        said = {attribute: [str(answer[attribute]) for answer in answers if answer.get(attribute)] for attribute in KNOWN}
        votes = {attribute: [self._vocabulary.category(attribute, one) for one in ones] for attribute, ones in said.items()}
        return {attribute: majority(ones) for attribute, ones in votes.items() if ones}

    @cached_property
    def _pictures(self) -> dict[Key, Member]:
        """The image of each split and id. A zip and its unpacked copy beside each other are one."""
        splits: dict[str, set[str]] = defaultdict(set)
        for split, image in self._people:
            splits[image].add(split)
        chosen: dict[Key, Member] = {}
        for name, member in self._tree.members.items():
            path = PurePosixPath(name)
            if path.suffix.lower() not in SUFFIXES:
                continue
            split = _split(path, splits.get(path.stem, set()))
            other = chosen.setdefault((split, path.stem), member) if split in self._splits else member
            if other.size != member.size:
                raise DataError(f"{other.name} and {member.name} are different files of one image; remove one")
        return chosen


class Vocabulary:
    """Maps the strings of the files to categories and keeps count of what it met."""

    def __init__(self, names: Mapping[str, Mapping[str, str]]) -> None:
        self._own = {attribute: {_plain(str(key)): value for key, value in own.items()} for attribute, own in names.items()}
        self._mapped: dict[str, Counter[tuple[str, str]]] = {attribute: Counter() for attribute in KNOWN}
        self._unknown: dict[str, Counter[str]] = {attribute: Counter() for attribute in KNOWN}
        for attribute, own in self._own.items():
            one_of("names", attribute, tuple(KNOWN))
            for category in own.values():
                one_of(f"names.{attribute}", category, (*KNOWN[attribute], DISAGREEMENT))

    def category(self, attribute: str, said: str) -> str:
        """The category that a string stands for; unknown ones are remembered for `check`."""
        plain = _plain(said)
        found = self._own.get(attribute, {}).get(plain) or SPELLINGS.get(attribute, {}).get(plain, plain)
        if found not in KNOWN[attribute] and found != DISAGREEMENT:
            self._unknown[attribute][said] += 1
        elif found != said:
            self._mapped[attribute][said, found] += 1
        return found

    def check(self, root: Path) -> None:
        """Refuses files with strings that are no category: which, how often, and what is one."""
        faults = [
            f"{attribute} {', '.join(f'{said!r} ({count}×)' for said, count in met.items())}; "
            f"known are {', '.join(KNOWN[attribute])}"
            for attribute, met in self._unknown.items()
            if met
        ]
        if faults:
            raise DataError(f"{root}: unknown {'. Unknown '.join(faults)}. Map them with dataset.names.<attribute>")

    def notes(self) -> list[str]:
        told = {
            attribute: ", ".join(f"{said!r} to {found!r} ({count}×)" for (said, found), count in met.items())
            for attribute, met in self._mapped.items()
        }
        return [f"PHASE: {attribute} strings mapped: {mapped}" for attribute, mapped in told.items() if mapped]


def majority(answers: Sequence[str]) -> str:
    """What more than half of the answers say, else "disagreement"."""
    most = max(set(answers), key=answers.count)
    return most if 2 * answers.count(most) > len(answers) else DISAGREEMENT


def _entries(member: Member) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        content = json.loads(text(member.name, member.read()))
    except ValueError as error:
        raise DataError(f"{member.name} is not readable json ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{member.name}: expected an object of images by id, got a {type(content).__name__}")
    for image, entry in content.items():
        if not isinstance(entry, dict):
            raise DataError(f"{member.name}: {image}: expected an object with a caption and persons")
        yield image, entry


def _region(said: Any) -> Region | None:
    """The four numbers of a region; None when they are absent or no numbers, which the notes count."""
    if not isinstance(said, list) or len(said) != 4:
        return None
    if not all(isinstance(edge, int | float) and not isinstance(edge, bool) and math.isfinite(edge) for edge in said):
        return None
    left, top, third, fourth = (float(edge) for edge in said)
    return left, top, third, fourth


def _split(path: PurePosixPath, known: set[str]) -> str:
    """The split that the nearest folder says; without one, that of the annotations of this image."""
    for folder in reversed(path.parent.parts):
        if match := SPLIT.search(folder):
            return match[1].lower()
    if len(known) > 1:
        raise DataError(f"{path}: annotated in {' and '.join(sorted(known))}; put images into folders train and val")
    return next(iter(known), "train")


def _bare(image: str) -> str:
    """The id without the ending of a file, which some files carry."""
    return PurePosixPath(image).stem if PurePosixPath(image).suffix.lower() in SUFFIXES else image


def _seed_id(key: Key) -> str:
    return plain_id(f"phase-{key[0]}-{key[1]}", f"image {key[1]!r}")


@lru_cache(maxsize=4096)
def _plain(said: str) -> str:
    return " ".join(re.split(r"[\s_]+", said.strip().lower()))
