"""What every loader asks of its data before any work starts, and the fingerprint of what it found."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence

from driftloop.core.errors import nearest
from driftloop.core.records import Seed
from driftloop.datasets.tree import DataError, some

LONGEST_ID = 200
RESERVED = ("all", "all_standardised")


def one_of(option: str, value: str, allowed: Sequence[str]) -> str:
    """The value of an option, when it is one of the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{option} must be one of {', '.join(allowed)}; got {value!r}.{nearest(str(value), allowed)}")
    return value


def matched(labelled: Collection[str], pictured: Collection[str], missing: str, partner: str = "an image") -> list[str]:
    """What has both a label and an image, sorted. The rest is an error, or a warning when `missing` is "skip".

    With another `partner` than an image only a label without it is a fault: there may be more of them than labels.
    """
    bare, orphans = set(labelled) - set(pictured), set(pictured) - set(labelled)
    faults = [f"labels without {partner} ({some(bare)})"] if bare else []
    faults += [f"images without a label ({some(orphans)})"] if orphans and partner == "an image" else []
    if faults and missing == "error":
        raise DataError(f"{' and '.join(faults)}; missing=skip leaves them out")
    if faults:
        warnings.warn(f"left out {' and '.join(faults)}", stacklevel=3)
    return sorted(set(labelled) & set(pictured))


def unique(ids: Iterable[tuple[str, str]]) -> None:
    """Refuses a seed_id that stands twice; `ids` are pairs of seed_id and the place it was read from."""
    places: dict[str, str] = {}
    twice = [f"{seed_id} ({places[seed_id]} and {at})" for seed_id, at in ids if places.setdefault(seed_id, at) != at]
    if twice:
        raise DataError(f"seed ids must be unique, but some stand twice ({some(twice, 3)})")


def plain_id(text: str, place: str) -> str:
    """A seed_id that can be part of any file name or key: printable, short, without slashes."""
    if not text.isprintable() or len(text) > LONGEST_ID or {"/", "\\"} & set(text) or text in {"", ".", ".."}:
        raise DataError(f"{place}: {text[:50]!r} cannot be a seed id (1–{LONGEST_ID} printable characters, no slashes)")
    return text


def concept(text: str, place: str) -> str:
    """A concept whose rows cannot be taken for those over all concepts."""
    if text in RESERVED:
        raise DataError(f"{place}: no concept can be called {text!r}, which stands for all of them; rename it")
    return text


def not_empty(seeds: list[Seed], where: str) -> list[Seed]:
    if not seeds:
        raise DataError(f"no seeds: {where}")
    return seeds


def fingerprint(seeds: Iterable[Seed], sizes: Mapping[str, int], **options: str) -> str:
    """SHA-256 of what the label files say of each seed, of the image files' names and sizes, and of the options.

    It hashes what was read rather than the bytes of the label files, so that the same data has one fingerprint in a
    folder, in a zip and with other line ends. `sizes` maps a seed's source to bytes; a seed without image has no size.
    """
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for seed in sorted(seeds, key=lambda seed: seed.seed_id):
        image = [seed.source.rsplit("/", 1)[-1], sizes[seed.source]] if seed.picture else None
        row = [seed.seed_id, seed.concept, sorted(seed.labels.items()), seed.caption, seed.split, image]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
