"""Captions that people wrote: of round 0 of a study, or of pictures that a run made and people were asked about."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftloop.core.packs import pixel_hash
from driftloop.core.records import Caption, Captioner, Seed

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = ("image_sha256", "caption")


class HumanCaptioner:
    """Looks a picture up by its pixels in `captions_file`: .csv in UTF-8 with columns image_sha256 and caption.

    The hash is that of seeds.parquet and rounds/ (`core.packs.pixel_hash`); `write_captions` makes the table. Of several
    captions of one picture the item's own seed draws one. A picture that nobody described goes to the captioner
    `otherwise`, or fails with its hash where there is none, as every later round does.
    """

    def __init__(self, *, captions_file: str, otherwise: Captioner | None = None, batch_size: int = 64) -> None:
        self.written = _read(Path(captions_file).expanduser())
        self.otherwise, self.batch_size = otherwise, batch_size

    def describe(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:
        written = [self.written.get(pixel_hash(image), []) for image in images]
        missing = [number for number, texts in enumerate(written) if not texts]
        told = self._others([images[number] for number in missing], [seeds[number] for number in missing])
        return [Caption(texts[seed % len(texts)]) if texts else told.pop(0) for texts, seed in zip(written, seeds, strict=True)]

    def load(self) -> None:
        """Loads the captioner that stands in."""
        getattr(self.otherwise, "load", lambda: None)()

    def unload(self) -> None:
        """Lets go of the weights of the captioner that stands in."""
        getattr(self.otherwise, "unload", lambda: None)()

    def provenance(self) -> dict[str, Any]:
        """How much was written, and what stands in for the rest."""
        told = {"pictures": len(self.written), "captions": sum(map(len, self.written.values()))}
        other = getattr(self.otherwise, "provenance", None)
        return told | ({"otherwise": other()} if other else {})

    def _others(self, images: Sequence[Image], seeds: Sequence[int]) -> list[Caption]:
        if images and self.otherwise is None:
            raise LookupError(f"nobody described the picture {pixel_hash(images[0])}, and no captioner is given as `otherwise`")
        return self.otherwise.describe(images, seeds) if self.otherwise and images else []


def _read(file: Path) -> dict[str, list[str]]:
    """Pixel hash -> captions, in the order of the table; empty cells are nothing written."""
    table: dict[str, list[str]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise ValueError(f"{file} must have the columns {', '.join(COLUMNS)}; it has {reader.fieldnames}")
            for row in reader:
                if text := " ".join((row["caption"] or "").split()):
                    table.setdefault(row["image_sha256"], []).append(text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"captions_file must be a .csv with columns {', '.join(COLUMNS)}: {file}: {error}") from error
    return table


def write_captions(seeds: Sequence[Seed], captions: Mapping[str, str | Sequence[str]], file: str | Path) -> None:
    """Writes the table for HumanCaptioner: `captions` maps a seed_id to what was written of its picture, once or often.

    The seeds are those of a data set (`Folder(root).load()`), whose pictures are opened here. Raises ValueError for a
    seed_id that the data set does not have.
    """
    pictures = {seed.seed_id: seed.picture for seed in seeds}
    if unknown := sorted(set(captions) - set(pictures)):
        raise ValueError(f"{len(unknown)} of the captions belong to no seed, such as {unknown[0]!r}")
    with Path(file).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for seed_id, written in captions.items():
            picture = pictures[seed_id]
            if picture is None:
                raise ValueError(f"the seed {seed_id!r} is a text: it has no picture to describe")
            sha256 = pixel_hash(picture())
            writer.writerows((sha256, text) for text in ([written] if isinstance(written, str) else written))
