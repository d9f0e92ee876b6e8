"""Results do not depend on batch size, wave size, chain order, shards or processes: bitwise."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from comparing import answers, check_whole
from driftloop.core.watch import Watch
from driftloop.engines.local import Shard, chains_of, play_shard, players
from driftloop.runs import Run
from driftloop.stages.intake import intake
from driftloop.stages.play import Play
from playing import composed_toy, played

FLAWED = ("replicates=3", "rounds=3", "generator.black_share=0.1", "captioner.mute_share=0.1", "on_failure.max_share=1",
          "dataset.broken=[2]", "classifier.toy.fail_share=0.1", "mitigation=[loud]")  # fmt: skip
"""Failures and retries too must fall on the same items."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return answers(played(composed_toy(tmp_path_factory.mktemp("reference"), *FLAWED)))


@pytest.mark.parametrize(
    "words",
    [("generator.batch_size=1", "captioner.batch_size=1", "classifier.toy.batch_size=1"),
     ("generator.batch_size=5", "captioner.batch_size=3", "classifier.toy.batch_size=7"),
     ("wave=1",), ("wave=5", "generator.batch_size=2"), ("flush_seconds=0",), ("engine.shard=0/1",)],
    ids=" ".join,
)  # fmt: skip
def test_batches_and_waves(play: Any, reference: Any, words: Any) -> None:
    assert answers(play(*FLAWED, *words)) == reference


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_chains(ask: Any, play: Any, reference: Any, seed: int) -> None:
    asked = ask(*FLAWED)
    play(*FLAWED, "rounds=0", "stages=[play]")
    store = asked.store()
    chains = chains_of(asked, store, Shard())
    random.Random(seed).shuffle(chains)
    Play(store=store, players=players(asked), root_seed=0, retries=1).run(chains, 3, wave=4)
    assert answers(play(*FLAWED)) == reference


def test_two_shards_one_after_the_other(play: Any, reference: Any) -> None:
    first = play(*FLAWED, "engine.shard=0/2")
    part = set(first.rounds["chain"])
    both = play(*FLAWED, "engine.shard=1/2")
    assert 0 < len(part) < len(set(both.rounds["chain"]))
    assert answers(both) == reference
    check_whole(both, 18, 3)


def test_a_run_begun_in_shards_is_finished_by_one(play: Any, reference: Any) -> None:
    play(*FLAWED, "engine.shard=2/3", "rounds=2")
    assert answers(play(*FLAWED)) == reference


def test_another_root_seed_draws_otherwise(play: Any, reference: Any) -> None:
    other = answers(play(*FLAWED, "root_seed=1"))
    assert not {row for row in other["rounds"] if row[1] > 0 and row[4]} & set(reference["rounds"])


def test_a_draw_belongs_to_its_item_alone(play: Any) -> None:
    """Every draw of a run is another number, and none moves when seeds are added."""
    small, large = play("dataset.n=4", "replicates=2", "rounds=3"), play("dataset.n=9", "replicates=2", "rounds=3")
    for column in ("generator_seed", "captioner_seed"):
        drawn = large.rounds[column].dropna()
        assert drawn.is_unique
    assert set(answers(small)["rounds"]) <= set(answers(large)["rounds"])


def test_mitigations_stand_in_the_order_given(play: Any) -> None:
    run = play("mitigation=[loud,quiet]", "rounds=1")
    captions = run.rounds["caption"]
    assert captions.str.startswith("loud quiet an elderly").all()  # the first of the list stands outermost
    swapped = play("mitigation=[quiet,loud]", "rounds=1")
    assert swapped.rounds["caption"].str.startswith("quiet loud").all()
    assert set(run.rounds["image_sha256"]) & set(swapped.rounds["image_sha256"]) == set(
        run.rounds.loc[run.rounds["round"] == 0, "image_sha256"]
    )


def test_intake_is_idempotent_and_keeps_pixels(ask: Any, play: Any) -> None:
    run = play("rounds=0", "stages=[play]")
    asked, store = ask(), run.store
    before = store.seeds()
    packs = sorted((store.folder / "images/round-000").iterdir())
    intake(store, asked.seeds, Watch())
    assert store.seeds().equals(before)
    assert sorted((store.folder / "images/round-000").iterdir()) == packs
    for seed in asked.seeds:
        row = before.set_index("seed_id").loc[seed.seed_id]
        assert store.image(row["image"]).tobytes() == seed.picture().convert("RGB").tobytes()


def test_replicates_share_the_picture_of_their_seed(play: Any, calls: Any) -> None:
    run = play("replicates=5", "rounds=0")
    assert run.rounds.groupby("seed_id")["image"].nunique().eq(1).all()
    assert calls()["read"] == 6  # one reading of one picture, in five rows
    assert len(run.readings) == 5 * 6 * 2


@pytest.mark.parametrize("words", [(), ("dataset.limit=7",), ("dataset.limit=20", "dataset.limit_per_concept=3")])
def test_what_is_played_is_what_was_asked_whatever_was_played_before(ask: Any, play: Any, words: Any) -> None:
    base = ("dataset.n=60", "stages=[play]", "rounds=0")
    for earlier in (("dataset.limit_per_concept=25",), ("dataset.limit=3",)):
        play(*base, *earlier)
    asked = ask(*base, *words)
    play(*base, *words)
    wanted = {seed.seed_id for seed in asked.seeds}
    assert {chain.seed.seed_id for chain in chains_of(asked, asked.store(), Shard())} == wanted


def test_shards_part_the_chains(ask: Any, play: Any) -> None:
    play("dataset.n=40", "rounds=0", "replicates=2", "stages=[play]")
    asked = ask("dataset.n=40", "replicates=2")
    parts = [{chain.key for chain in chains_of(asked, asked.store(), Shard(index, 3))} for index in range(3)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 80
    assert all(len(part) > 12 for part in parts)
    assert all({f"{key.split('/')[0]}/{n}" for n in range(2)} <= part for part in parts for key in part)


def test_one_shard_can_be_played_without_the_command(ask: Any, play: Any, reference: Any) -> None:
    asked = replace(ask(*FLAWED))
    play(*FLAWED, "rounds=0", "stages=[play]")
    play_shard(asked, Shard(1, 2), Watch())
    play_shard(asked, Shard(0, 2), Watch())
    run = Run(asked.store().folder)
    assert answers(run)["rounds"] == reference["rounds"]
