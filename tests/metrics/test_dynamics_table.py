"""The metric `dynamics`: rows that say what the statistics say of a run's own readings, and the planted attractor of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftloop.analysis.material import Instrument, Material
from driftloop.analysis.study import Settings
from driftloop.core.rng import generator
from driftloop.metrics.dynamics import DYNAMICS_COLUMNS, TRANSITION_COLUMNS, DynamicsMetric
from driftloop.phantom.world import CATEGORIES, PRIOR_AGE, PRIOR_GENDER
from driftloop.statistics.dynamics import SHOWN, Chains, dynamics
from driftloop.validation.dynamics import Kind, World
from playing import composed, played
from rows import one, only

GENDERS, CONCEPTS = ("female", "male"), ("joy", "fear")
MIN_SEEDS = 10


class Kept:
    """A store that holds one table of readings by folder."""

    def __init__(self, tables: dict[str, pd.DataFrame]) -> None:
        self.tables = tables

    def readings(self, folder: str) -> pd.DataFrame:
        return self.tables[folder]


def material(read: Any, concepts: list[str], said: Any = None, rounds: Any = None, first: int = 0) -> Material:
    """`read` [n_seeds, replicates, rounds] positions in GENDERS, and `said` in CONCEPTS as a concept classifier reads them;
    -1 is an abstention."""
    numbers = list(range(first, first + read.shape[2])) if rounds is None else rounds
    keys = [(f"s{i:03d}", r, numbers[t], i, t) for i, r, t in np.ndindex(read.shape)]
    rows = pd.DataFrame([key[:3] for key in keys], columns=["seed_id", "replicate", "round"])
    rows = rows.assign(run="r", chain=rows["seed_id"] + "/" + rows["replicate"].astype(str), status="ok", image="x", caption="")
    tables = {"labels/vit": _readings(rows, read, "vit", "gender", GENDERS)}
    instruments = [Instrument(name="vit", folder="labels/vit", kind="labels", categories={"gender": GENDERS})]
    if said is not None:
        tables["concepts/fer"] = _readings(rows, said, "fer", "emotion", CONCEPTS)
        instruments.append(Instrument(name="fer", folder="concepts/fer", kind="concepts", categories={"emotion": CONCEPTS}))
    names = [f"s{i:03d}" for i in range(len(read))]
    return Material(
        store=Kept(tables),  # type: ignore[arg-type]
        seeds=pd.DataFrame({"seed_id": names, "concept_kind": "emotion", "concept": concepts}),
        rows=rows,
        instruments=instruments,
        settings=Settings(root_seed=0, resamples=100, level=0.95, ordered=frozenset(), confirmatory=None, min_seeds=MIN_SEEDS),
        baseline_round=first,
    )


def _readings(rows: pd.DataFrame, read: Any, classifier: str, attribute: str, categories: tuple[str, ...]) -> pd.DataFrame:
    flat = read.ravel()
    labels = pd.Series([categories[place] if place >= 0 else None for place in flat], dtype=object)
    status = np.where(flat >= 0, "ok", "low_confidence")
    return rows.assign(classifier=classifier, attribute=attribute, label=labels, status=status)


def world(n: int = 150, female: float = 0.8, steps: int = 8, seed: int = 1, unread: float = 0.0) -> Any:
    kind = Kind(anew=0.3, drawn=(female, 1 - female))
    return World(kinds=(kind,), start=(0.5, 0.5), steps=steps, replicates=2, unread=unread).draw(n, generator(seed))


def tables(given: Material) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = DynamicsMetric().tables(given)
    return found["dynamics"], found["transitions"]


def test_rows_are_the_statistics_of_the_readings() -> None:
    read = np.concatenate([world(female=0.8, unread=0.1), world(female=0.3, n=100, seed=2)])
    concepts = ["joy"] * 150 + ["fear"] * 100
    table, steps = tables(material(read, concepts))
    assert list(table.columns) == DYNAMICS_COLUMNS
    assert list(steps.columns) == TRANSITION_COLUMNS
    assert set(table["concept"]) == {"all", "all_standardised", "joy", "fear"}
    blocks, each = np.repeat([0, 1], [150, 100]), np.arange(250)
    whole = Chains(states=read, blocks=blocks, units=each, features=np.eye(2))
    direct = dynamics(whole, np.eye(2))
    rows = only(table, concept="all").set_index("category").loc[list(GENDERS)]
    assert (rows["status"] == direct.status).all()
    assert rows["p_order"].iloc[0] == pytest.approx(direct.p_order)
    assert rows["p_late"].iloc[0] == pytest.approx(direct.p_late)
    assert rows["attractor"].to_numpy() == pytest.approx(direct.attractor.value)
    assert rows["attractor_high"].to_numpy() == pytest.approx(direct.attractor.high)
    assert rows["half_life"].to_numpy() == pytest.approx(direct.half_life.value[0])
    alike = one(table, concept="all_standardised", category="female")
    parts = [one(table, concept=concept, category="female") for concept in CONCEPTS]
    assert alike["attractor"] == pytest.approx(np.mean([part["attractor"] for part in parts]))
    assert [part["n_seeds"] for part in parts] == [150, 100]
    for part, planted in zip(parts, (0.8, 0.3), strict=True):
        assert part["status"] == SHOWN
        assert part["attractor_low"] < planted < part["attractor_high"]
        assert part["half_life_low"] < np.log(0.5) / np.log(0.7) < part["half_life_high"]


def test_transitions_are_the_shares_of_counted_steps() -> None:
    read = world(n=40)
    _, steps = tables(material(read, ["joy"] * 40))
    before, after = read[:, :, :-1].ravel(), read[:, :, 1:].ravel()
    for i, j in np.ndindex(2, 2):
        row = one(steps, concept="joy", category=GENDERS[i], to=GENDERS[j])
        assert row["value"] == pytest.approx((after[before == i] == j).mean())
        assert row["low"] < row["value"] < row["high"]


def test_an_estimate_is_empty_where_it_may_not_be_shown() -> None:
    two_speeds = np.concatenate([world(female=0.9), np.repeat(world(female=0.5)[:, :, :1], 9, axis=2)])
    table, _ = tables(material(two_speeds, ["joy"] * 300))
    assert (table["status"] == "not first order").all()
    assert table[["attractor", "attractor_low", "half_life", "half_life_slowest"]].isna().all(axis=None)
    assert (table["p_order"] < 0.05).all()


@pytest.mark.parametrize("first", [0, 1])
def test_four_steps_from_the_baseline_are_needed(first: int) -> None:
    few, _ = tables(material(world(steps=3), ["joy"] * 150, first=first))
    assert (few["status"] == "too few rounds").all()
    enough, _ = tables(material(world(steps=4), ["joy"] * 150, first=first))
    assert (enough["status"] == SHOWN).all()
    assert (enough["baseline_round"] == first).all()
    assert (enough["round"] == first + 4).all()


def test_one_round_one_seed_all_abstain_and_few_seeds() -> None:
    assert set(tables(material(world(steps=0), ["joy"] * 150))[0]["status"]) == {"too few rounds"}
    assert set(tables(material(world(n=1), ["joy"]))[0]["status"]) == {"too few seeds"}
    silent, steps = tables(material(np.full((20, 1, 9), -1), ["joy"] * 20))
    assert set(silent["status"]) == {"too few seeds"}
    assert (silent["n_seeds"] == 0).all()
    assert len(steps) == 0
    assert set(tables(material(world(n=MIN_SEEDS - 1), ["joy"] * (MIN_SEEDS - 1)))[0]["status"]) == {"too few seeds"}


def test_a_round_that_nobody_played_is_no_step() -> None:
    """Rounds 0 1 2 3 4 6 7 8 9: from 4 to 6 are two steps, which no one saw."""
    read = world(steps=9)
    gap = [0, 1, 2, 3, 4, 6, 7, 8, 9]
    blank = read.copy()
    blank[:, :, 5] = -1
    with_gap, _ = tables(material(read[:, :, gap], ["joy"] * 150, rounds=gap))
    without, _ = tables(material(blank, ["joy"] * 150))
    pd.testing.assert_frame_equal(with_gap, without)


def test_the_joint_chain_where_the_concept_itself_leaks() -> None:
    """Concepts swap with chance .2 a step, and gender is drawn anew (.4) from what the new concept pulls to: the attractor
    given a concept is what was planted, moved by what its neighbour sends over."""
    n, draws, pull = 1500, generator(4), np.array([0.9, 0.2])
    said, female = [np.repeat([0, 1], n // 2)], [draws.random(n) < 0.5]
    for _ in range(8):
        said.append(np.where(draws.random(n) < 0.2, 1 - said[-1], said[-1]))
        female.append(np.where(draws.random(n) < 0.4, draws.random(n) < pull[said[-1]], female[-1]))
    concepts = [CONCEPTS[i] for i in said[0]]
    read, seen = (1 - np.stack(female, axis=1))[:, None], np.stack(said, axis=1)[:, None]
    table, _ = tables(material(read, concepts, seen))
    joint = only(table, concept_read_by="fer", category="female").set_index("concept")
    assert list(joint.index) == ["all", "fear", "joy"]
    keeps, swaps = 0.6 * 0.8, 0.6 * 0.2
    true = np.linalg.solve(np.array([[1 - keeps, -swaps], [-swaps, 1 - keeps]]), 0.4 * pull)
    assert set(joint["status"]) == {SHOWN}
    for concept, planted in zip(("joy", "fear", "all"), (*true, true.mean()), strict=True):
        assert joint.loc[concept, "attractor_low"] < planted < joint.loc[concept, "attractor_high"]
    assert set(only(table, concept_read_by="", attribute="gender", concept="joy")["status"]) != {SHOWN}


def test_concepts_that_never_leak_pull_nowhere_jointly() -> None:
    seen = np.broadcast_to(np.repeat([0, 1], 75)[:, None, None], (150, 2, 9))
    table, _ = tables(material(world(), ["joy"] * 75 + ["fear"] * 75, seen))
    assert set(only(table, concept_read_by="fer")["status"]) == {"not identifiable"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "attribute"), [("activity", "gender"), ("emotion", "age")])
def test_the_planted_prior_and_omission_come_back_from_a_run(kind: str, attribute: str, tmp_path: Path) -> None:
    words = ("experiment=phantom_exact", "rounds=8", "dataset.n=420", "dataset.limit=420", f"dataset.concept_kind={kind}")
    stages = ("metric=[dynamics]", "analysis.resamples=100", "stages=[play,measure,analyse]", "truth=none")
    run = played(composed(*words, *stages, f"results_dir={tmp_path}"))
    table = run.table("dynamics")
    mine = table[(table["attribute"] == attribute) & (table["status"] == SHOWN)]
    held = [
        row["attractor_low"] < _planted(row) < row["attractor_high"]
        for _, row in mine[~mine["concept"].str.startswith("all")].iterrows()
    ]
    assert len(held) >= 0.6 * len(CATEGORIES[kind]) * len(CATEGORIES[attribute])
    assert np.mean(held) >= 0.85
    lives = mine.drop_duplicates("concept")
    true = np.log(0.5) / np.log(0.7)
    assert ((lives["half_life_low"] < true) & (true < lives["half_life_high"])).mean() >= 0.8


def _planted(row: Any) -> float:
    if row["attribute"] == "age":
        return PRIOR_AGE[row["concept"]][CATEGORIES["age"].index(row["category"])]
    female = PRIOR_GENDER[row["concept"]]
    return female if row["category"] == "female" else 1 - female
