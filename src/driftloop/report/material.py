"""What a report is made of, read once from a run folder."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from driftloop.core.experiment import Experiment
from driftloop.core.limits import taken
from driftloop.core.sharing import open_seeds
from driftloop.core.store import Store

PLAYED = ["seed_id", "replicate", "chain", "round", "status", "error", "attempts", "caption_tokens", "caption_truncated",
          "caption_echo", "prompt_truncated", "image"]  # fmt: skip
WHOSE = ["concept", "attribute", "classifier", "round", "baseline_round"]
COLUMNS: Mapping[str, Sequence[str]] = {
    "drift": [*WHOSE, "category", "method", "n_seeds", "n_pairs", "coverage", "share", "share_low", "share_high", "shift",
              "shift_low", "shift_high", "p_value", "p_adjusted", "note"],
    "distances": [*WHOSE, "distance", "n_pairs", "value", "low", "high", "null_mean", "null_low", "null_high", "p_value"],
    "tests": [*WHOSE, "test", "n_pairs", "p_value", "p_adjusted", "family"],
    "coverage": [*WHOSE, "category", "n_expected", "n_ok", "coverage", "share_at_least", "share_at_most"],
    "planted": ["round", "concept", "attribute", "category", "share"],
}  # fmt: skip
"""The columns that a report uses of the tables of analysis/ that nearly every run has."""

READ_TABLES = ("drift", "distances", "tests", "coverage")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One classifier with its locator, as its label folder describes it."""

    folder: str
    name: str
    categories: Mapping[str, Sequence[str]]
    identity: Mapping[str, Any]
    judges_itself: bool = False

    @property
    def place(self) -> str:
        """labels or concepts."""
        return self.folder.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Material:
    """Tables and facts of one run. `rounds` is without captions; `shown` tells whether single seeds may be shown."""

    store: Store
    experiment: Experiment
    manifest: Mapping[str, Any]
    seeds: pd.DataFrame
    rounds: pd.DataFrame
    drift: pd.DataFrame
    distances: pd.DataFrame
    tests: pd.DataFrame
    coverage: pd.DataFrame
    planted: pd.DataFrame
    instruments: Sequence[Instrument]
    provenance: Sequence[Mapping[str, Any]]
    open_seeds: bool

    @property
    def shown(self) -> bool:
        return self.open_seeds or self.experiment.show_seeds

    @property
    def level(self) -> float:
        return self.experiment.level

    @property
    def concept_kind(self) -> str:
        kinds = self.seeds["concept_kind"] if "concept_kind" in self.seeds else pd.Series(dtype=str)
        return str(kinds.iloc[0]) if len(kinds) else "concept"

    def categories(self, attribute: str) -> list[str]:
        """All categories of an attribute, in the order its instruments declare."""
        declared = [name for each in self.instruments for name in each.categories.get(attribute, ())]
        found = self.drift.loc[self.drift["attribute"] == attribute, "category"].astype(str)
        return list(dict.fromkeys([*declared, *found]))

    @property
    def attributes(self) -> list[str]:
        """Every attribute that was read, in the order declared."""
        declared = [attribute for each in self.instruments for attribute in each.categories]
        return list(dict.fromkeys([*declared, *self.drift["attribute"].astype(str)]))

    def readers(self, attribute: str) -> list[str]:
        """The classifiers that read an attribute."""
        declared = [each.name for each in self.instruments if attribute in each.categories]
        found = self.drift.loc[self.drift["attribute"] == attribute, "classifier"].astype(str)
        return list(dict.fromkeys([*declared, *found]))

    def part(self, place: str) -> Material:
        """What instruments of one place found: labels (perceived attributes) or concepts (what the picture shows)."""
        aside = {each.name for each in self.instruments if each.place == "concepts"}
        aside -= {each.name for each in self.instruments if each.place == "labels"}
        kept = {
            name: table[table["classifier"].astype(str).isin(aside) == (place == "concepts")].reset_index(drop=True)
            for name, table in {name: getattr(self, name) for name in READ_TABLES}.items()
        }
        return replace(self, **kept, instruments=[each for each in self.instruments if each.place == place])

    @cached_property
    def perceived(self) -> Material:
        return self.part("labels")

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """A table of analysis/ by file name; one that was never written has the columns and no rows."""
        return _table(self.store, name, columns)

    def told(self, name: str) -> list[str]:
        """A list of sentences of the provenance (dataset_notes, instrument_warnings), as the last invocation told it."""
        kept = [entry[name] for entry in self.provenance if entry.get(name)]
        return [str(each) for each in kept[-1]] if kept else []

    @property
    def classifiers(self) -> list[str]:
        return list(dict.fromkeys([*(each.name for each in self.instruments), *self.drift["classifier"].astype(str)]))


def collect(experiment: Experiment, store: Store) -> Material:
    """Reads everything a page needs except captions and pictures, as far as the experiment reaches."""
    manifest = store.manifest()
    seeds = store.seeds()
    rounds = store.rounds(PLAYED)
    if len(seeds):
        named = taken(seeds, experiment.limit, experiment.limit_per_concept)
        seeds = seeds.set_index("seed_id", drop=False).loc[named].reset_index(drop=True)
    inside = (rounds["round"] <= experiment.rounds) & (rounds["replicate"] < experiment.replicates)
    inside &= rounds["seed_id"].isin(seeds["seed_id"])
    return Material(
        store=store,
        experiment=experiment,
        manifest=manifest,
        seeds=seeds,
        rounds=rounds[inside].reset_index(drop=True),
        **{name: _table(store, name, columns) for name, columns in COLUMNS.items()},
        instruments=list(_instruments(experiment, store)),
        provenance=store.provenance(),
        open_seeds=open_seeds(manifest, seeds),
    )


def state(experiment: Experiment, store: Store) -> str:
    """A digest that changes when a page made now would differ: content of the analysis, size and time of the rest."""
    asked = (experiment.rounds, experiment.replicates, experiment.limit, experiment.limit_per_concept, experiment.level)
    shown = (experiment.filmstrips, experiment.show_seeds, [option.name for option in experiment.classifiers])
    whole = hashlib.sha256(repr((asked, shown)).encode())
    for path in sorted((store.folder / "analysis").glob("*.parquet")):
        whole.update(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for path in [*_read_files(store.folder), *_own_files()]:
        found = path.stat()
        whole.update(f"{path.name}:{found.st_size}:{found.st_mtime_ns}\n".encode())
    return whole.hexdigest()


def _read_files(folder: Path) -> Iterator[Path]:
    for pattern in ("manifest.json", "seeds.parquet", "rounds/part-*.parquet", "labels/*/*", "concepts/*/*"):
        yield from sorted(folder.glob(pattern))


def _own_files() -> list[Path]:
    """The code and the template of the page: after an upgrade the page is made anew."""
    own = Path(str(importlib.resources.files("driftloop.report")))
    return sorted(path for path in own.rglob("*") if path.suffix in (".py", ".j2"))


def _table(store: Store, name: str, columns: Sequence[str]) -> pd.DataFrame:
    if not (store.folder / "analysis" / f"{name}.parquet").exists():
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    table = store.read_table(f"analysis/{name}.parquet")
    return table.assign(**{column: None for column in columns if column not in table})


def _instruments(experiment: Experiment, store: Store) -> Iterator[Instrument]:
    """The instruments asked for that have read anything."""
    for folder, option, _ in experiment.instruments():
        told = store.read_json(f"{folder}/classifier.json")
        if told:
            identity: dict[str, Any] = {key: told[key] for key in ("classifier", "locator") if key in told}
            judges_itself = bool(told.get("judges_itself"))
            yield Instrument(folder, option.name, told.get("categories", {}), identity, judges_itself)
