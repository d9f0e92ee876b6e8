"""Some chains as filmstrips: pictures small enough to travel, what was said of them, and what was read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from driftloop.core.errors import StoreError
from driftloop.report.material import Instrument, Material
from driftloop.report.words import readable

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 128  # pixels; larger pictures are reduced, smaller ones stay as they are
MOST_FRAMES = 8
MOST_BYTES = 2_500_000


Readings = dict[tuple[str, int], list[tuple[str, str, str]]]


@dataclass(frozen=True, slots=True)
class Frame:
    """One round of a chain; `picture` is a data URI or empty, `readings` an attribute's line and whether it is new."""

    round: int
    picture: str
    side: int
    caption: str
    readings: Sequence[tuple[str, bool]]
    status: str


@dataclass(frozen=True, slots=True)
class Strip:
    chain: str
    concept: str
    frames: Sequence[Frame]

    @property
    def size(self) -> int:
        return sum(len(frame.picture) for frame in self.frames)


def strips(material: Material) -> list[Strip]:
    """The chains to show, at most `experiment.filmstrips` and MOST_BYTES; none where single seeds may not be shown."""
    if not material.shown or not material.experiment.filmstrips or material.rounds.empty:
        return []
    chosen = choose(material.rounds, material.seeds, material.experiment.filmstrips)
    rows = material.store.rows("rounds", ["chain", "round", "image", "caption", "status"], chosen["chain"]).to_pandas()
    readings = _readings(material, list(chosen["chain"]))
    found, size = [], 0
    for chain, concept in zip(chosen["chain"], chosen["concept"], strict=True):
        mine = rows[(rows["chain"] == chain) & (rows["round"] <= material.experiment.rounds)]
        strip = Strip(readable(chain, 60), readable(concept, 60), list(_frames(material, mine, readings)))
        size += strip.size
        if size > MOST_BYTES:
            break
        found.append(strip)
    return found


def choose(rounds: pd.DataFrame, seeds: pd.DataFrame, n: int) -> pd.DataFrame:
    """chain, concept of `n` chains: concepts in turn, seeds in the order they were taken in, never by what they show."""
    whole = rounds[rounds["replicate"] == rounds["replicate"].min()].drop_duplicates("chain")
    order = seeds[["seed_id", "concept"]].drop_duplicates("seed_id")
    order = order[order["seed_id"].isin(whole["seed_id"])]
    turn = order.groupby("concept").cumcount()
    order = order.assign(turn=turn).sort_values(["turn", "concept"], kind="stable").head(n)
    return order.merge(whole[["seed_id", "chain"]], on="seed_id", how="left")


def shown_rounds(rounds: Sequence[int]) -> list[int]:
    """All rounds, or MOST_FRAMES of them from the first to the last."""
    places = np.linspace(0, len(rounds) - 1, min(MOST_FRAMES, len(rounds))).round().astype(int)
    return [rounds[place] for place in places]


def _frames(material: Material, rows: pd.DataFrame, readings: Readings) -> Iterator[Frame]:
    rows = rows.drop_duplicates("round", keep="last").sort_values("round")
    before: dict[str, str] = {}
    for row in rows[rows["round"].isin(shown_rounds(list(rows["round"])))].to_dict("records"):
        picture = _picture(material, str(row["image"]))
        read = readings.get((str(row["chain"]), int(row["round"])), [])
        lines = [(line, before.get(attribute, label) != label) for attribute, label, line in read]
        before |= {attribute: label for attribute, label, _ in read}
        yield Frame(
            round=int(row["round"]),
            picture=_uri(picture) if picture else "",
            side=max(picture.size) if picture else 0,
            caption=readable(str(row["caption"] or "")),
            readings=lines,
            status=str(row["status"]),
        )


def _picture(material: Material, key: str) -> Image | None:
    """The picture, reduced; None where there is none or it cannot be read any more."""
    if not key:
        return None
    try:
        image = material.store.image(key)
    except StoreError:
        return None
    if max(image.size) > SIDE:
        image = image.copy()
        image.thumbnail((SIDE, SIDE))
    return image


def _uri(image: Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _readings(material: Material, chains: list[str]) -> Readings:
    """(chain, round) -> what the first instrument read: attribute, label and line of each."""
    found: Readings = {}
    for instrument in material.instruments[:1]:
        columns = ["chain", "round", "attribute", "status", "label", "probability"]
        rows = material.store.rows(instrument.folder, columns, chains).to_pandas()
        rows = rows.drop_duplicates(["chain", "round", "attribute"], keep="last")
        for row in sorted(rows.to_dict("records"), key=lambda row: _place(instrument, str(row["attribute"]))):
            line = (str(row["attribute"]), str(row["label"]), _reading(row))
            found.setdefault((str(row["chain"]), int(row["round"])), []).append(line)
    return found


def _place(instrument: Instrument, attribute: str) -> int:
    declared = list(instrument.categories)
    return declared.index(attribute) if attribute in declared else len(declared)


def _reading(row: Mapping[Any, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['attribute']}: {str(row['status']).replace('_', ' ')}"
    sure = "" if row["probability"] is None or pd.isna(row["probability"]) else f" ({row['probability']:.2f})"
    return readable(f"{row['label']}{sure}", 60)
