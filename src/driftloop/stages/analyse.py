"""Analyse: from readings to tidy tables, by the core analysis and the metrics asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from driftloop.analysis.audit import audit_tables
from driftloop.analysis.by_seed import signed
from driftloop.analysis.material import Encoding, Instrument, Material
from driftloop.analysis.study import Extent, Settings
from driftloop.analysis.tables import core_tables
from driftloop.audit.labels import files, read_labels, state, take_in
from driftloop.audit.sample import DESIGN, SAMPLE, extent_of
from driftloop.core.limits import taken

if TYPE_CHECKING:
    from driftloop.core.experiment import Experiment
    from driftloop.core.store import Store
    from driftloop.core.watch import Watch

INPUTS = "analysis/inputs.json"
CODE = ("analysis", "metrics", "statistics")
PLANTED_COLUMNS = ["round", "concept", "attribute", "category", "share"]


def analyse(experiment: Experiment, store: Store, watch: Watch) -> dict[str, Any]:
    """Writes analysis/*.parquet for the declared extent, unless nothing it reads has changed; returns what was looked at."""
    take_in(store, experiment.audit_labels)
    rows = _within(experiment, store)
    looked = {"rounds": experiment.rounds, "replicates": experiment.replicates, "seeds": rows["seed_id"].nunique()}
    declared = _is_declared(looked, experiment, store)
    inputs = _inputs(experiment, store) | {"declared": declared}
    unchanged = store.read_json(INPUTS) == inputs
    watch.start("analyse", 1, done=int(unchanged))
    if unchanged:
        return looked
    tables = _tables(experiment, store, rows, Extent() if declared else None)
    (store.folder / INPUTS).unlink(missing_ok=True)  # from here on, until all are written, the tables are of two minds
    for name, table in tables.items():
        store.write_table(f"analysis/{name}.parquet", table)
    for path in (store.folder / "analysis").glob("*.parquet"):
        if path.stem not in tables:
            path.unlink()
    store.write_json(INPUTS, inputs)
    watch.advance()
    return looked


def _is_declared(looked: Mapping[str, int], experiment: Experiment, store: Store) -> bool:
    """Whether this is the extent declared for confirmatory tests: by the config, else by the first look at the run.

    To look, and then to add rounds, seeds or replicates and look again, is optional stopping.
    """
    looks = [entry["looks"] for entry in store.provenance() if entry.get("looks")]
    wanted = experiment.confirmatory or (looks[0] if looks else looked)
    return all(looked[name] == number for name, number in wanted.items())


def _within(experiment: Experiment, store: Store) -> pd.DataFrame:
    """The rows of rounds/ within the declared extent, so that the same command gives the same tables whatever else is there."""
    seeds = store.seeds()
    rows = store.rounds(["run", "seed_id", "replicate", "chain", "round", "image", "status", "caption"])
    near = (rows["round"] <= experiment.rounds) & (rows["replicate"] < experiment.replicates)
    return rows[near & rows["seed_id"].isin(taken(seeds, experiment.limit, experiment.limit_per_concept))]


def _material(experiment: Experiment, store: Store, rows: pd.DataFrame, confirmatory: Extent | None) -> Material:
    seeds = store.seeds()
    shown = rows["image"] != ""
    return Material(
        store=store,
        seeds=seeds[seeds["seed_id"].isin(rows["seed_id"])],
        rows=rows,
        instruments=[
            Instrument(name=option.name, folder=folder, kind=_kind(folder), categories=option.build().categories)
            for folder, option, _ in experiment.instruments()
        ],
        settings=Settings(
            root_seed=experiment.root_seed,
            resamples=experiment.resamples,
            level=experiment.level,
            ordered=frozenset({"age"}),
            confirmatory=confirmatory,
            min_seeds=experiment.min_seeds,
        ),
        baseline_round=int(rows.loc[shown, "round"].min()) if shown.any() else 0,
        encodings=[Encoding(name=option.name, folder=folder) for folder, option, _ in experiment.encodings()],
    )


def _kind(folder: str) -> Literal["labels", "concepts"]:
    return "labels" if folder.startswith("labels/") else "concepts"


def _tables(experiment: Experiment, store: Store, rows: pd.DataFrame, confirmatory: Extent | None) -> dict[str, pd.DataFrame]:
    material = _material(experiment, store, rows, confirmatory)
    tables: dict[str, pd.DataFrame] = {}
    if material.instruments and len(rows):
        tables = core_tables(material)
        for option in experiment.metrics:
            tables = added(tables, signed(option.name, option.build().tables(material)))
        if files(store):
            tables = added(tables, _audited(experiment, store, material))
    if experiment.truth is not None:
        told = experiment.truth.build().shares(material.seeds.to_dict("records"), experiment.rounds)
        tables["planted"] = pd.DataFrame(told, columns=PLANTED_COLUMNS).assign(run=store.run_id)
    return tables


def _audited(experiment: Experiment, store: Store, material: Material) -> dict[str, pd.DataFrame]:
    """What people's labels say, if they were asked about the extent that is analysed."""
    labels, design = read_labels(store), store.read_json(DESIGN)
    other = {name: value for name, value in design["extent"].items() if extent_of(experiment)[name] != value}
    told = ", ".join(f"{name}={value}" for name, value in other.items())
    reason = f"refused: the labelled sample was drawn from {told}" if other else ""
    return audit_tables(material, store.read_table(SAMPLE), design, labels, reason)


def added(tables: Mapping[str, pd.DataFrame], more: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Further tables; rows of a table that is there already go below its own, and what either lacks stays empty."""
    both = {name: pd.concat([tables[name], more[name]], ignore_index=True) for name in more if name in tables}
    return {**tables, **more, **both}


def _inputs(experiment: Experiment, store: Store) -> dict[str, Any]:
    """What the tables depend on: the files read, the extent, the settings, the code."""
    folders = ["rounds", *(folder for folder, _, _ in experiment.instruments()), *store.probe_tables()]
    folders += [folder for folder, _, _ in experiment.encodings()]
    return {
        "files": {folder: store.listing(folder) for folder in folders},
        "extent": [experiment.rounds, experiment.replicates, experiment.limit, experiment.limit_per_concept],
        "settings": [experiment.resamples, experiment.level, experiment.min_seeds, experiment.root_seed],
        "audit": state(store),
        "metrics": {option.name: option.identity() for option in experiment.metrics},
        "truth": None if experiment.truth is None else experiment.truth.identity(),
        "code": {"driftloop": version("driftloop"), "sha256": code_hash(Path(__file__).parents[1])},
    }


def code_hash(package: Path) -> str:
    """SHA-256 of what a package's statistics are: the files of its CODE folders, by name."""
    whole = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in (package / folder).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(package).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()
