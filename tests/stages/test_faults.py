"""One bad item never costs the others; it becomes a row with a status."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import doubles
from comparing import answers, check_whole, leftovers
from driftloop.core.errors import DriftloopError, StoreError, TooManyFailuresError
from driftloop.core.rng import derive
from playing import composed_toy, played

ANY = "on_failure.max_share=1"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A data set of six pictures on disk: one cut off in the middle, one that is no picture at all."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = ["image,concept"]
    for number in range(6):
        name = folder / f"p{number}.png"
        Image.effect_noise((40, 40), 60).convert("RGB").save(name)
        lines.append(f"{name.name},reading")
    (folder / "labels.csv").write_text("\n".join(lines))
    whole = (folder / "p2.png").read_bytes()
    (folder / "p2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "p4.png").write_bytes(b"no picture")
    return folder


def test_unreadable_seed_pictures_fail_and_the_run_goes_on(play: Any, pictures: Path) -> None:
    run = play("dataset=folder", f"dataset.root={pictures}", ANY)
    rounds = run.rounds.set_index(["seed_id", "round"]).sort_index()
    for seed, fault in (("p2.png", "p2.png"), ("p4.png", "p4.png")):
        assert rounds.loc[(seed, 0), "status"] == "failed"
        assert fault in rounds.loc[(seed, 0), "error"]
        assert rounds.loc[(seed, 1), "status"] == rounds.loc[(seed, 2), "status"] == "parent_failed"
        assert rounds["caption"].isna()[seed, 1]
    assert (run.rounds.loc[~run.rounds["seed_id"].isin(["p2.png", "p4.png"]), "status"] == "ok").all()
    assert len(run.readings) == 4 * 3 * 2
    check_whole(run, 6, 2)


@pytest.mark.parametrize("how", ["OSError", "KeyError", "bomb", "EOFError"])
def test_whatever_a_picture_raises_costs_only_its_chain(play: Any, how: str) -> None:
    run = play("dataset.broken=[1]", f"dataset.how={how}", ANY)
    failed = run.rounds[run.rounds["status"] != "ok"]
    assert set(failed["seed_id"]) == {"toy-1"}
    assert "truncated" in failed["error"].iloc[0]


def test_one_bad_caption_in_a_batch_of_64_costs_only_its_chain(play: Any, calls: Any) -> None:
    prompts = [f"prompt {number}" for number in range(63)] + ["a cursed prompt"]
    words = ("dataset=prompts", f"dataset.prompts=[{','.join(prompts)}]", "generator.fail=cursed", "rounds=1")
    run = play(*words)
    bad = run.rounds[(run.rounds["round"] == 1) & (run.rounds["status"] != "ok")]
    assert len(bad) == 1
    assert bad["error"].iloc[0] == "RuntimeError: cannot draw 'a cursed prompt'"
    assert bad["attempts"].iloc[0] == 2
    assert (run.rounds["status"] == "ok").sum() == 64 + 63
    assert calls()["describe"] == 63


def test_the_same_pictures_come_out_beside_a_bad_one(play: Any) -> None:
    prompts = [f"prompt {number}" for number in range(10)]
    alone = play("dataset=prompts", f"dataset.prompts=[{','.join(prompts)}]", ANY)
    beside = play("dataset=prompts", f"dataset.prompts=[{','.join([*prompts[:5], 'cursed', *prompts[5:]])}]",
                  "generator.fail=cursed", ANY)  # fmt: skip
    rows = set(answers(alone)["rounds"])
    assert rows <= set(answers(beside)["rounds"])


@pytest.mark.parametrize("torch_memory", [False, True])
def test_out_of_memory_is_survived_by_halving_with_the_same_results(
    play: Any, calls: Any, torch_memory: bool, tmp_path: Path
) -> None:
    plenty = play("replicates=3")
    calls()
    little = play("replicates=3", "generator.most=5", f"generator.torch_memory={torch_memory}", "captioner.most=4",
                  "classifier.toy.most=2", f"results_dir={tmp_path / 'little'}")  # fmt: skip
    assert little.run_id != plenty.run_id
    assert answers(little) == answers(plenty)
    assert (little.rounds["attempts"] <= 1).all()
    assert calls()["generate"] > 18 * 2


def test_a_black_picture_is_drawn_afresh_and_never_described(play: Any) -> None:
    run = play("generator.black_share=0.4", "replicates=8", "rounds=2", ANY)
    made = run.rounds[run.rounds["image"].ne("") & run.rounds["round"].ge(1)]
    saved = made[(made["status"] == "ok") & (made["attempts"] == 2)]
    black = made[made["status"] == "black_image"]
    assert len(saved) > 5
    assert len(black) > 5
    assert (black["attempts"] == 2).all()
    assert black["caption"].isna().all()  # the double would have raised at a black picture
    assert not set(black["chain"] + black["round"].astype(str)) & set(run.readings["chain"] + run.readings["round"].astype(str))
    for row in saved.to_dict("records"):
        assert row["generator_seed"] == derive(0, row["seed_id"], row["replicate"], row["round"], 1, "generate")
    after = run.rounds[run.rounds["chain"].isin(black.loc[black["round"] == 1, "chain"]) & run.rounds["round"].gt(1)]
    assert (after["status"] == "parent_failed").all()


def test_without_retries_black_stays_black(play: Any) -> None:
    once = play("generator.black_share=0.4", "replicates=8", "rounds=1", "on_failure.retries=0", ANY)
    never = play("generator.black_share=0.4", "replicates=8", "rounds=1", "on_failure.retries=4", ANY)
    first = once.rounds[once.rounds["round"] == 1]
    assert 10 < (first["status"] == "black_image").sum() < 30
    assert (first["attempts"] == 1).all()
    assert (never.rounds["status"] == "black_image").sum() <= 3
    kept = first.loc[first["status"] == "ok", ["chain", "image_sha256"]]
    both = kept.merge(never.rounds[never.rounds["round"] == 1], on="chain")
    assert (both["image_sha256_x"] == both["image_sha256_y"]).all()


def test_an_empty_caption_is_asked_again_then_stops_the_chain(play: Any) -> None:
    run = play("captioner.mute_share=0.4", "replicates=8", ANY)
    mute = run.rounds[run.rounds["status"] == "empty_caption"]
    assert len(mute) > 5
    assert (mute["image"] != "").all()
    assert (mute["caption"].str.strip() == "").all()
    assert (run.rounds["attempts"] == 2).sum() > len(mute)
    check_whole(run, 48, 2)
    read = set(zip(run.readings["chain"], run.readings["round"], strict=True))
    assert set(zip(mute["chain"], mute["round"], strict=True)) <= read  # there is a picture, and it is measured


def test_a_captioner_that_raises_costs_only_its_chain(play: Any) -> None:
    run = play("captioner.fail_share=0.4", "replicates=8", ANY)
    failed = run.rounds[run.rounds["status"] == "failed"]
    assert 0 < len(failed) < 48
    assert (failed["error"] == "ValueError: cannot describe").all()
    check_whole(run, 48, 2)


def test_a_classifier_that_raises_leaves_rows_of_status_failed(play: Any) -> None:
    run = play("classifier.toy.fail_share=0.3", "replicates=4")
    assert len(run.readings) == 24 * 3 * 2
    by_status = run.readings["status"].value_counts()
    assert 0.1 < by_status["failed"] / len(run.readings) < 0.5
    assert run.readings.loc[run.readings["status"] == "failed", "label"].isna().all()


def test_too_many_failures_stop_the_run_and_everything_stays(play: Any, calls: Any) -> None:
    words = ("replicates=8", "rounds=4", "generator.black_share=0.5", "on_failure.retries=0", "wave=16")
    with pytest.raises(TooManyFailuresError, match=r"more than on_failure.max_share allows \(4.8\)") as stop:
        play(*words)
    assert "black_image" in str(stop.value)
    assert "on_failure.again=true" in str(stop.value)
    made = calls()["generate"]
    assert made == 16  # the first batch, and no more
    finished = play(*words, ANY)
    again = calls()["generate"] + made - finished.rounds.loc[finished.rounds["round"] > 0, "status"].ne("parent_failed").sum()
    assert 4 < again < 16  # what failed is drawn again, what went well is not
    check_whole(finished, 48, 4)


def test_failures_at_the_limit_do_not_stop(play: Any) -> None:
    run = play("dataset.broken=[0,3]", "on_failure.max_share=0.34")
    assert (run.rounds["status"] == "failed").sum() == 2
    with pytest.raises(TooManyFailuresError):
        play("dataset.broken=[0,3]", "on_failure.max_share=0.33", "arm=less")


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_a_generator_that_breaks_the_contract_is_named(play: Any, mode: str) -> None:
    wrong = [doubles.Picture(Image.new(mode, (4, 4), "white"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyGenerator.generate", lambda self, captions, seeds: wrong * len(captions))
        with pytest.raises(DriftloopError, match="a generator must return"):
            play()


def test_a_model_that_loses_an_item_stops_the_run(play: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyCaptioner.describe", lambda self, images, seeds: [])
        with pytest.raises(DriftloopError, match="a model returned 0 results for 6 items"):
            play()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return answers(played(composed_toy(tmp_path_factory.mktemp("clean"))))


@pytest.mark.parametrize("number", [0, 3, 7, 12, 20, 27])
def test_a_full_disk_stops_cleanly_and_the_same_command_finishes(play: Any, ask: Any, number: int, clean: Any) -> None:
    """From the n-th write on there is no room. What has its final name is whole, and nothing else is there."""
    with pytest.MonkeyPatch.context() as patch:
        written = iter(range(10_000))
        patch.setattr("os.fsync", lambda _: doubles.no_room() if next(written) >= number else None)
        with pytest.raises(StoreError, match=r"could not write .*No space left on device.*run the same command again"):
            play("flush_seconds=0")
    folder = ask().store().folder
    assert not list(folder.rglob("*.tmp"))
    run = play("flush_seconds=0")
    assert answers(run) == clean
    check_whole(run, 6, 2)


def test_a_damaged_pack_is_named_by_key(play: Any) -> None:
    run = play("stages=[play]")
    key = run.rounds.loc[run.rounds["round"] == 2, "image"].iloc[0]
    pack = run.store.folder / "images" / re.sub(r"/[^/]+$", "", key)
    data = bytearray(pack.read_bytes())
    start = data.index(b"IDAT")
    data[start + 10] ^= 0xFF
    pack.write_bytes(data)
    with pytest.raises(StoreError, match=re.escape(pack.parent.name)) as refusal:
        play("stages=[measure]")
    assert pack.name in str(refusal.value)
    pack.unlink()
    with pytest.raises(StoreError, match=re.escape(pack.name)):
        play("stages=[measure]")


def test_a_picture_swapped_in_its_pack_is_noticed(small_run: Any, tmp_path: Path) -> None:
    import zipfile

    from driftloop.runs import Run

    copy = Run(shutil.copytree(small_run.store.folder, tmp_path / small_run.run_id))
    keys = copy.rounds.loc[copy.rounds["round"] == 1, "image"]
    pack, member = keys.iloc[0].rsplit("/", 1)
    path = copy.store.folder / "images" / pack
    with zipfile.ZipFile(path) as archive:
        other = next(archive.read(name) for name in archive.namelist() if name != member)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, other)
    with pytest.raises(StoreError, match="has other pixels than when it was written"):
        copy.image(keys.iloc[0])


def test_nothing_is_left_after_a_stop_in_the_middle(play: Any) -> None:
    words = ("generator.black_share=1", "replicates=2")
    with pytest.raises(TooManyFailuresError):
        play(*words)
    assert leftovers(play(*words, ANY)) == []
