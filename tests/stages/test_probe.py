"""The stage `probe`: what is drawn and described, that it is paired, resumes, and does not depend on batches."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import doubles
from driftloop.core.counterfactuals import probe_folder, versions
from driftloop.core.errors import ConfigError, DriftloopError, TooManyFailuresError
from driftloop.core.packs import pixel_hash
from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom.render import read_stamp
from driftloop.phantom.world import CATEGORIES
from driftloop.plan import planned
from driftloop.runs import Run
from playing import composed, composed_toy, played
from rows import only

PLACE = probe_folder(("gender", "age"))
STAGES = "stages=[play,measure,probe]"
SAME = ["chain", "model", "probed", "version", "says", "caption", "image_sha256", "generator_seed", "captioner_seed", "status"]
FLAWED = ("dataset.n=12", "rounds=1", STAGES, "probe.n=9", "probe.replicates=2", "generator.black_share=0.1",
          "generator.batch_size=5", "classifier.toy.batch_size=7", "on_failure.max_share=1", "dataset.broken=[2]")  # fmt: skip


def probes(run: Run, place: str = PLACE) -> pd.DataFrame:
    return run.store.probes(place)


def answers(run: Run) -> tuple[Any, ...]:
    """Everything that must not depend on batches or interruptions."""
    rows, [labels] = probes(run), [name for name in run.store.probe_tables() if name.count("/") == 3]
    read = run.store.readings(labels)
    assert not read.duplicated(["chain", "attribute"]).any()
    return tuple(
        sorted(map(tuple, table[columns].astype(object).where(table[columns].notna(), None).to_numpy().tolist()), key=repr)
        for table, columns in ((rows, SAME), (read, ["chain", "round", "attribute", "status", "label", "probability"]))
    )


def truth(run: Run, key: str) -> dict[str, str]:
    """What an exact picture says of itself."""
    found = read_stamp(run.image(key))
    assert found is not None
    return found.attributes


# What is drawn -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Run:
    words = ["experiment=phantom_exact", "dataset.limit=24", "rounds=1", "truth=none", "probe.n=10", STAGES]
    words += ["probe.attributes=[gender,age,activity]", f"results_dir={tmp_path_factory.mktemp('exact')}"]
    return played(composed(*words))


@pytest.fixture(scope="module")
def rows(exact: Run) -> pd.DataFrame:
    return probes(exact, probe_folder(("gender", "age", "activity")))


def test_the_first_seeds_in_hash_order_get_every_version_of_their_first_caption(exact: Run, rows: pd.DataFrame) -> None:
    seeds = exact.seeds.sort_values("place")["seed_id"].head(10)
    first = only(exact.rounds, round=0).set_index("seed_id")["caption"]
    drawn = only(rows, model="generator")
    assert set(drawn["seed_id"]) == set(seeds)
    for key, part in drawn.groupby(["seed_id", "probed"]):
        seed_id, probed = map(str, key)
        wanted = versions(first[seed_id], probed)
        assert dict(zip(part["version"], part["caption"], strict=True)) == wanted.texts
        assert set(part["says"]) == {wanted.says}


def test_as_it_is_a_probe_is_round_1_of_the_run(exact: Run, rows: pd.DataFrame) -> None:
    as_is = only(rows, version="as_is", probed="age").set_index("seed_id")["image_sha256"]
    assert as_is.to_dict() == only(exact.rounds, round=1).set_index("seed_id")["image_sha256"][as_is.index].to_dict()


def test_all_versions_of_a_seed_share_their_number_and_alike_ones_their_picture(rows: pd.DataFrame) -> None:
    drawn = only(rows, model="generator")
    assert drawn.groupby("seed_id")["generator_seed"].nunique().eq(1).all()
    assert drawn.groupby(["seed_id", "caption"])["image"].nunique().eq(1).all()


def test_nothing_but_what_is_probed_differs_between_pictures_of_an_exact_generator(exact: Run, rows: pd.DataFrame) -> None:
    for (_, probed), part in only(rows, model="generator").groupby(["seed_id", "probed"]):
        shown = [truth(exact, key) for key in part["image"]]
        for attribute in CATEGORIES:
            assert attribute == probed or len({stamp[attribute] for stamp in shown}) == 1


def test_a_captioner_is_shown_the_same_person_with_one_attribute_changed(exact: Run, rows: pd.DataFrame) -> None:
    told = only(rows, model="captioner")
    assert set(told["probed"]) == {"gender", "age", "activity"}
    own = exact.seeds.set_index("seed_id")
    for key, part in told.groupby(["seed_id", "probed"]):
        seed_id, probed = map(str, key)
        assert list(part["version"]) == list(CATEGORIES[probed])
        labels = {name: str(own.loc[seed_id, f"label_{name}"]) for name in CATEGORIES}
        for version, image in zip(part["version"], part["image"], strict=True):
            assert truth(exact, image) == {**labels, probed: version}
        seen = part.set_index("version").loc[labels[probed]]
        assert seen["image_sha256"] == own.loc[seed_id, "image_sha256"]
        first = only(exact.rounds, round=0, seed_id=seed_id).iloc[0]
        assert (seen["caption"], seen["captioner_seed"]) == (first["caption"], first["captioner_seed"])


def test_every_instrument_reads_what_the_generator_drew(exact: Run, rows: pd.DataFrame) -> None:
    [folder] = [name for name in exact.store.probe_tables() if "/labels/" in name]
    read = exact.store.readings(folder)
    drawn = only(rows, model="generator")
    assert set(read["chain"]) == set(drawn["chain"])
    assert len(read) == 2 * len(drawn)
    assert (exact.store.folder / folder / "classifier.json").exists()
    shown = {chain: truth(exact, key) for chain, key in zip(drawn["chain"], drawn["image"], strict=True)}
    assert all(shown[row["chain"]][row["attribute"]] == row["label"] for row in read.to_dict("records"))


def test_readings_of_the_run_are_none_of_probes(exact: Run) -> None:
    assert set(exact.readings["chain"]) == set(exact.rounds["chain"])


def test_the_built_in_world_shows_seeds_otherwise_as_it_shows_them() -> None:
    data = PhantomDataset(n=5, concept_kind="emotion")
    for seed in data.load():
        shown = data.counterfactuals(seed.seed_id)
        assert {name: tuple(values) for name, values in shown.items()} == CATEGORIES
        for attribute, value in seed.labels.items():
            assert seed.picture is not None
            assert pixel_hash(shown[attribute][value]()) == pixel_hash(seed.picture())


# Going on ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return answers(played(composed_toy(tmp_path_factory.mktemp("whole"), *FLAWED)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("generator.batch_size=1", "classifier.toy.batch_size=1"), ("flush_seconds=0", "generator.batch_size=64"),
              ("engine.shard=0/1", "generator.most=2")], ids=" ".join,
)  # fmt: skip
def test_batches_change_nothing(play: Any, undisturbed: Any, words: Any) -> None:
    assert answers(play(*FLAWED, *words)) == undisturbed


def test_two_shards_make_a_whole(play: Any, undisturbed: Any) -> None:
    first = play(*FLAWED, "engine.shard=0/2")
    assert 0 < probes(first)["seed_id"].nunique() < 9
    assert answers(play(*FLAWED, "engine.shard=1/2")) == undisturbed


def test_every_flaw_is_a_row(play: Any) -> None:
    found = probes(play(*FLAWED))
    assert {"ok", "black_image"} <= set(found["status"])
    assert found["seed_id"].nunique() == 9
    gone = only(found, status="parent_failed")
    assert set(gone["version"]) <= {"as_is"}


def test_what_is_done_is_not_done_again_and_more_costs_only_what_is_new(play: Any, calls: Any) -> None:
    base = ("dataset.n=12", STAGES)
    play(*base, "probe.n=4")
    calls()
    again = play(*base, "probe.n=4")
    assert set(calls()) <= {"built"}
    parts = again.store.listing(PLACE)
    more = play(*base, "probe.n=7")
    texts = probes(more)[["seed_id", "replicate", "caption"]].drop_duplicates()
    made = calls()
    assert made["generate"] == (texts["seed_id"].isin(set(probes(more)["seed_id"]) - _first(more, 4))).sum()
    assert made["describe"] == 0
    assert set(parts) <= set(more.store.listing(PLACE))
    calls()
    play(*base, "probe.n=7", "probe.replicates=2")
    assert calls()["generate"] == len(texts)


def _first(run: Run, n: int) -> set[str]:
    return set(run.seeds.sort_values("place")["seed_id"].head(n))


def test_other_attributes_are_another_folder(play: Any) -> None:
    base = ("dataset.n=4", STAGES)
    play(*base)
    run = play(*base, "probe.attributes=[gender]")
    assert {place for place in run.store.probe_tables() if place.count("/") == 1} == {PLACE, probe_folder(["gender"])}


def test_another_instrument_draws_nothing_again(play: Any, calls: Any) -> None:
    play("dataset.n=4", STAGES)
    calls()
    run = play("dataset.n=4", STAGES, "classifier.toy.threshold=0.9")
    made = calls()
    assert made["generate"] == 0
    assert made["read"] > 0
    assert len([name for name in run.store.probe_tables() if "/labels/" in name]) == 2


def _played(words: list[str], folder: str, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    os.chdir(folder)
    doubles.watch_the_disk()
    played(composed_toy(Path("results"), *words))


@pytest.fixture(scope="module")
def server() -> Any:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["playing", "doubles", "pyarrow.dataset"])
    return context


MORE = ("generate:9", "write:5", "rename:11", "read:2")


@pytest.mark.parametrize(
    "moment", ["generate:3", "rename:6", *(pytest.param(moment, marks=pytest.mark.slow) for moment in MORE)],
)  # fmt: skip
def test_killed_at_any_moment_it_finishes_to_the_same_bits(
    server: Any, tmp_path: Path, play: Any, undisturbed: Any, moment: str
) -> None:
    play(*FLAWED, "stages=[play,measure]")
    process = server.Process(target=_played, args=([*FLAWED, "flush_seconds=0"], str(tmp_path), {"DOUBLES_KILL": moment}))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    run = play(*FLAWED)
    assert answers(run) == undisturbed
    for key in probes(run).loc[lambda found: found["image"] != "", "image"]:
        run.image(key)
    assert not list(run.store.folder.rglob("*.tmp"))


def test_what_failed_is_done_again_when_asked(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ("dataset.n=4", "on_failure.max_share=1")
    clean = play(*base, STAGES, "arm=clean")
    play(*base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyGenerator.generate", _down)
        broken = play(*base, STAGES)
    assert set(probes(broken)["status"]) == {"failed"}
    assert set(probes(play(*base, STAGES))["status"]) == {"failed"}
    assert answers(play(*base, STAGES, "on_failure.again=true")) == answers(clean)


def test_a_generator_that_is_down_stops_the_stage(play: Any) -> None:
    play("dataset.n=4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubles.ToyGenerator.generate", _down)
        with pytest.raises(TooManyFailuresError, match=r"probes failed, more than on_failure\.max_share allows"):
            play("dataset.n=4", STAGES)


def _down(*_: Any) -> Any:
    raise RuntimeError("the server is down")


# What is refused -----------------------------------------------------------------------------------------------------


def test_captions_must_be_there(play: Any) -> None:
    with pytest.raises(DriftloopError, match="the run has no seeds yet"):
        play("stages=[probe]")
    play("engine.shard=0/2", "dataset.n=12")
    with pytest.raises(DriftloopError, match=r"\d+ of the first 12 seeds have no caption of round 0 yet, such as toy-"):
        play("stages=[probe]", "dataset.n=12")


@pytest.mark.parametrize(
    ("words", "told"),
    [(("probe.attributes=[hair]",), "captions have versions of gender, age, and data set toy cannot show its seeds otherwise"),
     (("probe.attributes=[]",), "must be a list of different names"),
     (("probe.attributes=[gender,gender]",), "must be a list of different names"),
     (("probe.n=1",), "probe.n must be a whole number of at least 2"),
     (("probe.replicates=0",), "probe.replicates must be a whole number of at least 1"),
     (("generator=phantom_roundtrip",), "redraws pictures and is given no captions")],
    ids=str,
)  # fmt: skip
def test_mistakes_are_told_before_work_starts(play: Any, tmp_path: Path, words: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        play(STAGES, *words)
    assert not (tmp_path / "results").exists()


def test_an_attribute_that_nothing_shows_is_told() -> None:
    from driftloop.stages.probe import views

    data = PhantomDataset(n=2)
    with pytest.raises(ConfigError, match="may be activity, age, emotion, gender; got 'hair'"):
        views(data.load(), data, ["hair"], 1)


def test_a_plan_counts_pictures_at_most_and_then_those_that_are_left(ask: Any, play: Any) -> None:
    words = ("dataset.n=6", "probe.n=4", "probe.replicates=2", STAGES)

    def work() -> tuple[int, int]:
        [found] = [each for each in planned(ask(*words)).work if each.stage == "probe"]
        return found.whole, found.left

    assert work() == (4 * 2 * (1 + 3 + 6),) * 2
    play(*words, "stages=[play]")
    texts = {seed.seed_id: versions_of(ask(*words), seed.seed_id) for seed in ask(*words).seeds[:4]}
    whole = 2 * sum(texts.values())
    assert work() == (whole, whole)
    play(*words)
    assert work() == (whole, 0)


def versions_of(asked: Any, seed_id: str) -> int:
    first = only(asked.store().rounds(), seed_id=seed_id, round=0).iloc[0]["caption"]
    return len({text for attribute in ("gender", "age") for text in versions(first, attribute).texts.values()})


def test_pictures_that_the_data_set_cannot_open_are_rows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhantomDataset, "counterfactuals", _half_broken)
    words = ("experiment=phantom_exact", "dataset.limit=4", "rounds=0", "truth=none", "probe.attributes=[gender]", STAGES)
    found = only(
        probes(played(composed(*words, "on_failure.max_share=1", f"results_dir={tmp_path}")), GENDER), model="captioner"
    )
    assert found.groupby("version")["status"].agg(set).to_dict() == {"female": {"ok"}, "male": {"failed"}}
    assert set(only(found, version="male")["error"]) == {"OSError: no such picture"}


GENDER = probe_folder(["gender"])


def _half_broken(_: PhantomDataset, seed_id: str) -> dict[str, dict[str, Any]]:
    def broken() -> Any:
        raise OSError("no such picture")

    [seed] = [seed for seed in PhantomDataset(n=96).load() if seed.seed_id == seed_id] or PhantomDataset(n=1).load()
    return {"gender": {"female": seed.picture, "male": broken}}


def test_a_text_seed_is_probed_by_its_prompt(play: Any) -> None:
    run = play("dataset=prompts", "dataset.prompts=[a man,a woman,a child]", STAGES)
    found = only(probes(run), probed="gender")
    assert set(found.loc[found["version"] == "female", "caption"]) == {"a woman", "a female child"}
    assert only(probes(run), model="captioner").empty
