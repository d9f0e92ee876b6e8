"""Which pictures people are asked about: random samples of the baseline and of the last round, with known chances.

What is drawn follows from the root seed and the readings alone. The number is part of the design, which is written down
before anybody labels anything and is not changed afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from driftloop.core.config import digest
from driftloop.core.errors import ConfigError
from driftloop.core.experiment import Experiment
from driftloop.core.limits import taken
from driftloop.core.rng import derive, generator
from driftloop.core.store import Store
from driftloop.statistics.audited import inclusion_probabilities, systematic_sample

Design = dict[str, Any]
DESIGN = "audit/design.json"
SAMPLE = "audit/sample.parquet"
SAMPLE_COLUMNS = ["item", "seed_id", "replicate", "chain", "round", "image", "concept", "reading", "probability"]


def make_design(experiment: Experiment, store: Store) -> Design:
    """What is drawn from what, and what is asked: the attributes and categories of the first classifier."""
    first = next((found for found in experiment.instruments() if found[0].startswith("labels/")), None)
    if first is None:
        raise ConfigError("the audit asks for what a classifier reads: choose one, for example 'classifier=[phantom_cnn]'")
    folder, _, identity = first
    shown = pictures(store, extent_of(experiment))["round"]
    if shown.nunique() < 2:
        raise ConfigError(f"the audit needs pictures of two rounds; {store.run_id} has them at {sorted(set(shown)) or 'none'}")
    return {
        "run": store.run_id,
        "n": experiment.audit_n,
        "baseline": int(shown.min()),
        "round": int(shown.max()),
        "extent": extent_of(experiment),
        "readings": folder,
        "attributes": identity["categories"],
        "root_seed": experiment.root_seed,
    }


def design_id(design: Design) -> str:
    return digest(design)[:8]


def extent_of(experiment: Experiment) -> dict[str, int | None]:
    """The population that is drawn from."""
    names = ("rounds", "replicates", "limit", "limit_per_concept")
    return {name: getattr(experiment, name) for name in names}


def pictures(store: Store, extent: Mapping[str, int | None]) -> pd.DataFrame:
    """The chain-rounds of the extent that show a picture, with their concept."""
    seeds = store.seeds()
    wanted = taken(seeds, extent["limit"], extent["limit_per_concept"])
    rows = store.rounds(["seed_id", "replicate", "chain", "round", "image", "status"])
    shown = (rows["image"] != "") & (rows["status"] != "black_image") & rows["seed_id"].isin(wanted)
    shown &= (rows["round"] <= extent["rounds"]) & (rows["replicate"] < extent["replicates"])
    return rows[shown].merge(seeds[["seed_id", "concept"]], on="seed_id", validate="many_to_one")


def draw_sample(store: Store, design: Design) -> pd.DataFrame:
    """Of each of the two rounds about `n` seeds, and of each seed one picture: SAMPLE_COLUMNS.

    `probability` is the seed's chance to be drawn, proportional to the square root of the size of its stratum, concept ×
    reading; which replicate is shown is drawn evenly. `item` names a picture without saying anything of it.
    """
    rows, read = pictures(store, design["extent"]), _readings(store, design)
    parts = []
    for round_ in (design["baseline"], design["round"]):
        one = _one_each(rows[rows["round"] == round_], design["root_seed"])
        one = one.assign(reading=one["chain"].map(read[round_]).fillna("unread"))
        parts.append(_drawn(one.sort_values("seed_id", ignore_index=True), design, round_))
    sample = pd.concat(parts, ignore_index=True)
    names = [_item(design, str(row["chain"]), int(row["round"])) for row in sample.to_dict("records")]
    return sample.assign(item=names)[SAMPLE_COLUMNS]


def _item(design: Design, chain: str, round_: int) -> str:
    return f"{derive(design['root_seed'], 'audit item', design['run'], chain, round_):016x}"


def _readings(store: Store, design: Design) -> dict[int, dict[str, str]]:
    """Round -> chain -> what was read, all attributes in one word; a status stands for a label that is missing."""
    found = store.readings(design["readings"])
    said = found["label"].astype(object).where(found["status"] == "ok", found["status"].astype(object))
    rows = found[["chain", "round"]].assign(said=found["attribute"].astype(str) + " " + said.astype(str))
    spoken: dict[int, dict[str, str]] = {design["baseline"]: {}, design["round"]: {}}
    for row in rows.sort_values("said").to_dict("records"):
        if row["round"] in spoken:
            of_round, chain = spoken[row["round"]], row["chain"]
            of_round[chain] = f"{of_round[chain]}, {row['said']}" if chain in of_round else row["said"]
    return spoken


def _one_each(rows: pd.DataFrame, root_seed: int) -> pd.DataFrame:
    """One replicate of each seed, all with the same chance."""
    order = [derive(root_seed, "audit replicate", str(row["chain"]), int(row["round"])) for row in rows.to_dict("records")]
    return rows.assign(order=order).sort_values("order").drop_duplicates("seed_id").drop(columns="order")


def _drawn(frame: pd.DataFrame, design: Design, round_: int) -> pd.DataFrame:
    strata = pd.factorize(frame["concept"].astype(str) + "/" + frame["reading"], sort=True)[0].astype(np.intp)
    chance = inclusion_probabilities(strata, design["n"])
    draw = generator(derive(design["root_seed"], "audit", round_))
    order = np.lexsort((draw.random(strata.size), strata)).astype(np.intp)
    taken = systematic_sample(chance, order, float(draw.random()))
    return frame.assign(probability=chance).iloc[taken]


def shown_in_turn(sample: pd.DataFrame) -> Sequence[str]:
    """The items in the order of the page: by their names, which are random, so that rounds and readings are mixed."""
    return sorted(sample["item"])
