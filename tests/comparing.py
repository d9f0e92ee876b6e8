"""What two runs must agree on to be the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from driftloop.runs import Run

ROUND = ["chain", "round", "status", "caption", "image_sha256", "parent_sha256", "error", "attempts", "generator_seed",
         "captioner_seed", "caption_tokens"]  # fmt: skip
READING = ["chain", "round", "attribute", "status", "label", "probability", "n_faces"]


def answers(run: Run) -> dict[str, Any]:
    """Everything that must not depend on batches, order, shards or interruptions, as plain comparable data."""
    rounds = run.rounds
    assert not rounds.duplicated(["chain", "round"]).any()
    found = {"rounds": _plain(rounds, ROUND), "seeds": sorted(run.seeds["seed_id"])}
    readings = run.readings
    if len(readings):
        assert not readings.duplicated(["chain", "round", "attribute", "instrument"]).any()
        found["readings"] = _plain(readings, READING)
    return found


def extent(run: Run) -> set[tuple[str, int]]:
    return set(zip(run.rounds["chain"], run.rounds["round"], strict=True))


def leftovers(run: Run) -> list[str]:
    """What a killed process may leave, and the finishing one must not."""
    return [path.name for path in Path(run.store.folder).rglob("*") if path.suffix == ".tmp" or "_pending" in path.name]


def check_whole(run: Run, chains: int, rounds: int) -> None:
    """Every chain has every round once, every picture can be read and is what its hash says, nothing is left over."""
    assert len(run.rounds) == len(extent(run)) == chains * (rounds + 1)
    assert run.rounds.groupby("chain")["round"].agg(set).map(lambda found: found == set(range(rounds + 1))).all()
    for key in run.rounds.loc[run.rounds["image"] != "", "image"]:
        run.image(key)
    assert leftovers(run) == []


def _plain(table: Any, columns: list[str]) -> list[tuple[Any, ...]]:
    rows = table[columns].astype(object).where(table[columns].notna(), None)
    return sorted(map(tuple, rows.to_numpy().tolist()), key=repr)
