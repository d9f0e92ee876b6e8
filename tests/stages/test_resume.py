"""A run continues where it stands: only what is new is computed, and another experiment is another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comparing import answers, check_whole, extent
from driftloop.core.errors import IdentityError


def test_more_rounds_compute_only_the_new_ones(play: Any, calls: Any) -> None:
    before = play("rounds=3")
    assert calls()["generate"] == 6 * 3
    after = play("rounds=5")
    made = calls()
    assert (made["generate"], made["describe"], made["read"]) == (12, 12, 12)
    assert after.store.folder == before.store.folder
    check_whole(after, 6, 5)


def test_rounds_played_in_two_parts_are_those_played_at_once(play: Any, tmp_path: Any) -> None:
    play("rounds=3")
    parts, whole = play("rounds=5"), play("rounds=5", f"results_dir={tmp_path / 'whole'}")
    assert parts.run_id == whole.run_id
    assert answers(parts) == answers(whole)


def test_fewer_rounds_compute_nothing_and_keep_what_is_there(play: Any, calls: Any) -> None:
    play("rounds=4")
    calls()
    assert len(extent(play("rounds=1"))) == 6 * 5
    assert set(calls()) <= {"built"}


def test_a_raised_limit_computes_only_new_seeds(play: Any, calls: Any) -> None:
    few = set(play("dataset.n=12", "dataset.limit=4").seeds["seed_id"])
    calls()
    many = play("dataset.n=12", "dataset.limit=9")
    assert calls()["generate"] == 5 * 2
    assert few < set(many.seeds["seed_id"])
    check_whole(many, 9, 2)


def test_more_replicates_compute_only_new_chains_which_differ(play: Any, calls: Any) -> None:
    play("replicates=1")
    calls()
    run = play("replicates=3")
    assert calls()["generate"] == 2 * 6 * 2
    check_whole(run, 18, 2)
    firsts = run.rounds[run.rounds["round"] == 1].groupby("seed_id")["image_sha256"].nunique()
    assert (firsts == 3).all()


def test_text_seeded_chains_continue_too(play: Any, calls: Any) -> None:
    words = ("dataset=prompts", "dataset.prompts=[a man,a woman,a child]")
    play(*words, "rounds=0")
    play(*words, "rounds=1")
    calls()
    run = play(*words, "rounds=3")
    assert calls()["generate"] == 6
    assert answers(run) == answers(play(*words, "rounds=3", "results_dir=" + str(run.store.folder.parent / "again")))
    first = run.rounds[run.rounds["round"] == 1]
    assert first["parent_sha256"].isna().all()  # a prompt has no picture
    assert run.readings["round"].min() == 1


def test_a_finished_run_calls_no_model_and_writes_no_row(play: Any, calls: Any) -> None:
    run = play()
    parts = run.store.listing("rounds"), run.store.listing("labels")
    calls()
    play()
    assert set(calls()) <= {"built"}
    assert parts == (run.store.listing("rounds"), run.store.listing("labels"))


def test_another_setting_of_a_model_is_another_run(ask: Any) -> None:
    words = ["arm=''", "generator.guidance=2", "captioner.mute_share=0.01", "root_seed=1", "on_failure.retries=2",
             "dataset.n=7", "mitigation=[loud]", "mitigation=[loud,quiet]", "mitigation=[quiet,loud]"]  # fmt: skip
    runs = [ask(word) for word in words]
    assert len({run.run_id for run in runs}) == len(runs)


@pytest.mark.parametrize(
    "word", ["generator.batch_size=3", "captioner.batch_size=2", "wave=2", "flush_seconds=0", "replicates=2",
             "dataset.limit=3", "on_failure.max_share=0.5", "engine.processes=1", "analysis.resamples=300",
             "toy.threshold=0.9"],
)  # fmt: skip
def test_extent_means_and_instruments_are_in_no_play_identity(ask: Any, word: str) -> None:
    word = word.replace("toy.threshold", "classifier.toy.threshold")
    assert ask(word).run_id == ask().run_id


def test_another_threshold_is_another_label_folder_over_the_same_pictures(play: Any, calls: Any) -> None:
    before = play()
    calls()
    after = play("classifier.toy.threshold=0.9")
    assert calls()["generate"] == 0
    assert after.run_id == before.run_id
    instruments = after.readings.groupby("instrument")["status"].agg(lambda found: (found == "ok").sum())
    assert len(instruments) == 2
    assert instruments.nunique() == 2


def test_the_batch_size_of_a_classifier_is_no_new_instrument(play: Any, calls: Any) -> None:
    play()
    calls()
    assert play("classifier.toy.batch_size=2").readings["instrument"].nunique() == 1
    assert calls()["read"] == 0


def test_where_a_data_set_lies_is_no_identity_but_a_file_of_another_option_is(ask: Any, tmp_path: Path) -> None:
    runs = []
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("a woman\na man\n")
        runs.append(ask("dataset=prompts", f"dataset.file={tmp_path / name}").run_id)
    assert runs[0] == runs[1]
    words = ("mitigation=[loud]", "~mitigation.loud.word", "++mitigation.loud._target_=doubles.Stencil")
    assert ask(*words, "++mitigation.loud.file=a").run_id != ask(*words, "++mitigation.loud.file=b").run_id


def test_the_locator_is_part_of_the_instrument(ask: Any) -> None:
    [(folder, _, identity)] = ask().instruments()
    assert folder.startswith("labels/toy-")
    assert identity["locator"]["_target_"].endswith("WholeImage")


def test_the_order_of_declared_categories_is_part_of_the_instrument(ask: Any) -> None:
    """Probabilities are lists in that order, so two orders must not share a folder."""
    before = ask().instruments()[0][0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyClassifier.categories", {"gender": ("male", "female"), "age": ("young", "old")})
        assert ask().instruments()[0][0] != before
    assert ask().instruments()[0][0] == before


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [(("root_seed",), 7, "root_seed was 7, now 0"), (("generator", "guidance"), 3.5, "generator.guidance was 3.5, now 1.0"),
     (("dataset", "fingerprint"), "x", "dataset.fingerprint was 'x'")],
)  # fmt: skip
def test_a_folder_of_another_identity_is_refused_by_field(play: Any, path: Any, value: Any, named: str) -> None:
    run = play("rounds=1")
    manifest = run.store.folder / "manifest.json"
    body = json.loads(manifest.read_text())
    node = body["identity"]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    manifest.write_text(json.dumps(body))
    with pytest.raises(IdentityError, match="belongs to another experiment") as refusal:
        play("rounds=2")
    assert named in str(refusal.value)
    assert len(extent(run)) == 6 * 2


def test_another_schema_is_refused(play: Any) -> None:
    run = play("rounds=1")
    manifest = run.store.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(IdentityError, match="schema version 99, this is 1"):
        play("rounds=1")


def test_an_arm_is_a_twin_with_the_same_draws(play: Any) -> None:
    """The arm is no part of any draw, so the twin shows what hardware and batches change: on a CPU, nothing."""
    one, twin = play(), play("arm=aa")
    assert one.run_id != twin.run_id
    assert answers(one) == answers(twin)
    assert twin.config["arm"] == "aa"


def test_failed_chains_stop_and_are_played_again_when_asked(play: Any, calls: Any, monkeypatch: Any) -> None:
    share = "on_failure.max_share=1"
    clean = play("arm=clean", "rounds=3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyGenerator.generate", _down)
        broken = play("rounds=3", share)
    assert (broken.rounds.loc[broken.rounds["round"] == 1, "status"] == "failed").all()
    assert (broken.rounds.loc[broken.rounds["round"] > 1, "status"] == "parent_failed").all()
    check_whole(broken, 6, 3)
    calls()
    play("rounds=3", share)
    assert calls()["generate"] == 0
    mended = play("rounds=3", share, "on_failure.again=true")
    assert calls()["generate"] == 6 * 3
    assert answers(mended) == answers(clean)


def test_again_plays_nothing_of_what_went_well(play: Any, calls: Any) -> None:
    play()
    calls()
    play("on_failure.again=true")
    assert set(calls()) <= {"built"}


def test_readings_that_failed_are_read_again_when_asked(play: Any, calls: Any) -> None:
    clean = play("arm=clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyClassifier.read", _down)
        broken = play()
    assert (broken.readings["status"] == "failed").all()
    calls()
    assert answers(play("on_failure.again=true")) == answers(clean)
    assert calls()["read"] == 18


def test_a_seed_that_could_not_be_opened_is_opened_again_when_asked(play: Any) -> None:
    clean = play("arm=clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyDataset.load", _all_broken)
        broken = play("on_failure.max_share=1")
    assert (broken.rounds["status"] != "ok").all()
    assert answers(play("on_failure.again=true")) == answers(clean)


def test_only_what_was_interrupted_in_the_middle_of_a_round_is_done_again(play: Any, calls: Any) -> None:
    """Pictures are journalled: a stop between pictures and captions costs no picture."""

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyCaptioner.describe", stop)
        with pytest.raises(KeyboardInterrupt):
            play("dataset=prompts", "dataset.prompts=[a,b,c]")
    assert calls()["generate"] == 3
    run = play("dataset=prompts", "dataset.prompts=[a,b,c]")
    assert calls()["generate"] == 3
    check_whole(run, 3, 2)


def _down(*_: Any) -> Any:
    raise RuntimeError("the server is down")


def _all_broken(self: Any) -> Any:
    import doubles

    return doubles.ToyDataset(n=6, broken=range(6)).seeds
