"""Exact models of the built-in world: instant, with every error planted and known.

They read the stamp that the renderer leaves in a picture, so a lossy step between two stages is an error at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from driftloop.core.records import Caption, Picture, Reading
from driftloop.core.rng import derive, generator
from driftloop.phantom.grammar import parse, plain, write
from driftloop.phantom.planted import Group, planted_confusion, planted_rates
from driftloop.phantom.render import SIZE, Stamp, read_stamp, render, stamp
from driftloop.phantom.world import CATEGORIES, Prior, Row, Spurious, complete, pick

if TYPE_CHECKING:
    from PIL.Image import Image

READ_BY_DEFAULT = ("gender", "age")


class ExactGenerator:
    """Renders what a caption tells; what it leaves out is drawn from the planted prior P(attribute | concept).

    `prior` overrides the planted one where it speaks: {"gender": {activity: P(female)}, "age": {emotion: row}}.
    `size` is the side of the square pictures in pixels, `spurious` plants shortcuts (see `world.Spurious`).
    """

    def __init__(
        self,
        prior: Prior | Mapping[str, Any] | None = None,
        size: int = SIZE,
        spurious: Sequence[Spurious | Mapping[str, Any]] = (),
        batch_size: int = 256,
    ) -> None:
        if size < 32:
            raise ValueError(f"size must be at least 32 pixels to hold the stamp, got {size}")
        self.prior = Prior.of(prior)
        self.size, self.batch_size = size, batch_size
        self.spurious = tuple(s if isinstance(s, Spurious) else Spurious(**s) for s in spurious)

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        """One stamped picture per caption."""
        return [Picture(self._drawn(caption, seed)) for caption, seed in zip(captions, seeds, strict=True)]

    def _drawn(self, caption: str, seed: int) -> Image:
        person = complete(parse(caption), seed, self.prior, self.spurious)
        image = render(person, seed).image
        if self.size != SIZE:
            image = image.resize((self.size, self.size))
        return stamp(image, person, generated=True)


class ExactCaptioner:
    """Names the attributes of a picture, with planted omission and confusion.

    `omission`: one rate for gender and age, or attribute -> rate (concepts too); `confusion`: attribute -> matrix
    P(named | true). Either may be split by origin and by true gender (see `planted`). Confusion comes first, then
    omission, both drawn per item and attribute. `phrasing` is "varied" or "plain".
    """

    def __init__(
        self,
        omission: float | Mapping[str, Any] = 0.0,
        confusion: Mapping[str, Any] | None = None,
        phrasing: Literal["varied", "plain"] = "varied",
        batch_size: int = 256,
    ) -> None:
        if phrasing not in ("varied", "plain"):
            raise ValueError(f"phrasing must be varied or plain, got {phrasing!r}")
        self.omission = planted_rates(omission, READ_BY_DEFAULT, "omission")
        self.confusion = planted_confusion(confusion, "confusion")
        self.phrasing, self.batch_size = phrasing, batch_size

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:
        """One caption per picture."""
        stamps = _stamps(images)
        return [self._caption(found, seed) for found, seed in zip(stamps, seeds, strict=True)]

    def _caption(self, found: Stamp, seed: int) -> Caption:
        told = {name: self._said(name, value, _group(found), seed) for name, value in found.attributes.items()}
        named = {name: value for name, value in told.items() if value is not None}
        text = plain(named) if self.phrasing == "plain" else write(named, derive(seed, "phrasing"))
        return Caption(text, tokens=len(text.split()))

    def _said(self, attribute: str, value: str, group: Group, seed: int) -> str | None:
        if generator(derive(seed, "omit", attribute)).random() < self.omission[attribute][group]:
            return None
        row = self.confusion[attribute][group][CATEGORIES[attribute].index(value)]
        return pick(attribute, row, derive(seed, "confuse"))


class ExactClassifier:
    """Reads attributes off the stamp, with planted confusion and abstention.

    `confusion`: attribute -> matrix P(read | true); `abstention`: one rate for all attributes or attribute -> rate;
    either may be split by origin and by true gender (see `planted`). Errors come from the pixels alone, so the same
    picture is always read alike; classifiers of another `name` err independently. Probabilities are those of the
    truth given what was read, under equal shares of the categories, by the planted confusion on seeds: an instrument
    knows how it errs on what it was made for, and is as sure of itself on generated pictures.
    """

    def __init__(
        self,
        attributes: Sequence[str] = READ_BY_DEFAULT,
        confusion: Mapping[str, Any] | None = None,
        abstention: float | Mapping[str, Any] | None = None,
        name: str = "exact",
    ) -> None:
        if unknown := set(attributes) - set(CATEGORIES):
            raise ValueError(f"attributes must be among {', '.join(CATEGORIES)}; got {sorted(unknown)}")
        self.categories = {attribute: CATEGORIES[attribute] for attribute in attributes}
        self.confusion = planted_confusion(confusion, "confusion")
        self.abstention = planted_rates(abstention, tuple(attributes), "abstention")
        self.name = name

    def read(self, images: Sequence[Image]) -> list[list[Reading]]:
        """One reading per picture and attribute."""
        stamps = _stamps(images)
        seeds = [derive(_pixel_hash(image), self.name) for image in images]
        return [
            [self._reading(attribute, found, seed) for attribute in self.categories]
            for found, seed in zip(stamps, seeds, strict=True)
        ]

    def _reading(self, attribute: str, found: Stamp, seed: int) -> Reading:
        group = _group(found)
        if generator(derive(seed, "abstain", attribute)).random() < self.abstention[attribute][group]:
            return Reading(attribute, "low_confidence")
        matrix = self.confusion[attribute][group]
        label = pick(attribute, matrix[CATEGORIES[attribute].index(found.attributes[attribute])], seed)
        probabilities = _posterior(self.confusion[attribute]["seed", group[1]], CATEGORIES[attribute].index(label))
        return Reading(attribute, "ok", label, probabilities[CATEGORIES[attribute].index(label)], probabilities)


def _stamps(images: Sequence[Image]) -> list[Stamp]:
    return [_read_or_raise(number, image) for number, image in enumerate(images)]


def _read_or_raise(number: int, image: Image) -> Stamp:
    found = read_stamp(image)
    if found is None:
        raise ValueError(
            f"item {number}: the stamp is damaged or missing; exact models read only pictures of the phantom data set "
            "or the exact generator that no lossy step (JPEG, resizing, cropping) has touched"
        )
    return found


def _group(found: Stamp) -> Group:
    return "generated" if found.generated else "seed", found.attributes["gender"]


def _pixel_hash(image: Image) -> int:
    digest = hashlib.blake2b(np.asarray(image.convert("RGB")).tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _posterior(matrix: Sequence[Row], read: int) -> tuple[float, ...]:
    """P(true | read) under equal shares of the true categories, and equal where nothing is ever read so."""
    column = [row[read] for row in matrix]
    if not any(column):
        column = [1.0] * len(column)
    return tuple(value / sum(column) for value in column)
