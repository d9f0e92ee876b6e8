"""What an analysis works on: the finished tables of one run within the declared extent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import pandas as pd

from driftloop.analysis.study import Settings, Study, make_study

if TYPE_CHECKING:
    from driftloop.core.store import Store


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """A classifier that read the pictures of a run: `kind` says into labels/ or concepts/."""

    name: str
    folder: str
    kind: Literal["labels", "concepts"]
    categories: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """An encoder that embedded the pictures and captions of a run."""

    name: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Material:
    """One run as far as the config looks.

    `seeds`: rows of seeds.parquet. `rows`: rows of rounds/ (run, seed_id, replicate, chain, round, image, status, caption).
    Rounds before `baseline_round` have no picture.
    """

    store: Store = field(repr=False)
    seeds: pd.DataFrame
    rows: pd.DataFrame
    instruments: Sequence[Instrument]
    settings: Settings
    baseline_round: int
    encodings: Sequence[Encoding] = ()

    @cached_property
    def readings(self) -> pd.DataFrame:
        """All readings of all instruments, status and label included, without probabilities."""
        read = [self.readings_of(instrument) for instrument in self.instruments]
        return pd.concat(read, ignore_index=True)

    def readings_of(self, instrument: Instrument) -> pd.DataFrame:
        """The readings of one instrument, all columns."""
        return self.within(self.store.readings(instrument.folder))

    def within(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of any table keyed by (chain, round) that belong to the extent."""
        return table[_keys(table).isin(_keys(self.rows))]

    @cached_property
    def study(self) -> Study:
        """The dense frame that panels of readings are made in."""
        return make_study(self.readings, self.seeds, self.rows, self.baseline_round, None)


class Metric(Protocol):
    """Further tables of one run: table name -> tidy rows, one estimate a row with its interval.

    A table named `by_seed` (rows made by `analysis.by_seed.seed_rows`) is not for reading: in what it holds, two runs are
    compared seed by seed, with interval and test, without the comparison knowing the metric.
    """

    def tables(self, material: Material) -> Mapping[str, pd.DataFrame]: ...


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[["chain", "round"]])
