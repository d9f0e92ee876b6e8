"""Embeddings of one encoder in the dense form: seeds × replicates × rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.analysis.material import Encoding, Material
from driftloop.analysis.study import KEY, placed
from driftloop.statistics.panel import Bools, Floats, Ints

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Side:
    """Vectors [m, d] and where they stand: `place` [n_seeds, n_replicates, n_rounds] is the number of a vector, or -1.

    `cut` [m]: of a text not all was seen.
    """

    vectors: NDArray[np.float16]
    cut: Bools
    place: Ints

    def at(self, round_: int) -> Floats:
        """Unit vectors of one round [n_seeds, n_replicates, d], NaN where there is none."""
        place = self.place[:, :, round_]
        found = self.vectors[place].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found /= np.linalg.norm(found, axis=-1, keepdims=True)
        found[place < 0] = np.nan
        return found

    def cut_at(self, round_: int) -> Floats:
        """1 where a text of one round [n_seeds, n_replicates] was cut, 0 where not, NaN where there is none."""
        place = self.place[:, :, round_]
        return np.where(place < 0, np.nan, self.cut[place])


@dataclass(frozen=True, slots=True)
class Embedded:
    """Both sides of one encoder, None for a side without a single vector; rounds are numbered from 0."""

    sides: dict[str, Side]
    rounds: int


def embedded(material: Material, encoding: Encoding) -> Embedded:
    """What an encoder left of the rows within the extent. The last of what was written twice counts."""
    study = material.study
    rounds = int(material.rows["round"].max()) + 1
    sides = {}
    for name in ("image", "text"):
        rows = material.store.rows(encoding.folder, ["seed_id", "replicate", "round", name, "text_cut"])
        rows = rows.filter(rows[name].is_valid())
        axes = (study.seed_ids, study.replicates, pd.RangeIndex(rounds))
        if side := _side(rows, name, axes):
            sides[name] = side
    return Embedded(sides, rounds)


def _side(rows: pa.Table, name: str, axes: tuple[pd.Index[Any], ...]) -> Side | None:
    if not len(rows):
        return None
    lists = rows[name].combine_chunks()
    widths = lists.value_lengths().to_numpy()
    if (widths != widths[0]).any():
        raise ValueError(f"embeddings of one {name} have {widths.min()} numbers, of another {widths.max()}")
    vectors = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, widths[0])
    place = placed(rows.select(KEY).to_pandas(), np.arange(len(rows)), axes)
    cut = rows["text_cut"].fill_null(False).to_numpy().astype(np.bool_)
    return Side(vectors, cut, place)
