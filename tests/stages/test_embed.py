"""Every picture and caption is embedded once, whatever the batches and interruptions; what fails is a row with a status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import playing
from driftloop.core.config import Option
from driftloop.core.errors import DriftloopError, Interrupted
from driftloop.core.packs import pixel_hash
from driftloop.core.rng import derive
from driftloop.core.watch import Watch
from driftloop.core.weights import ModelError
from driftloop.runs import Run
from encoding import TARGET, direction


def toy(**settings: Any) -> Option:
    return Option("toy", {"_target_": TARGET, **settings})


@pytest.fixture
def embed(ask: Any) -> Any:
    """Plays and measures the toy experiment with encoders and no classifier's calls in the log."""

    def played(*words: str, encoders: Any = None, watch: Watch | None = None) -> Run:
        return playing.played(replace(ask(*words), encoders=[toy()] if encoders is None else encoders), watch)

    return played


def rows_of(run: Run) -> pd.DataFrame:
    (folder,) = {path.parent.name for path in run.store.folder.glob("embeddings/*/encoder.json")}
    found: pd.DataFrame = run.store.rows(f"embeddings/{folder}").to_pandas()
    assert not found.duplicated(["chain", "round"]).any()
    return found.sort_values(["chain", "round"], ignore_index=True)


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    lists = one[["image", "text"]].map(list).equals(other[["image", "text"]].map(list))
    return lists and one.drop(columns=["image", "text"]).equals(other.drop(columns=["image", "text"]))


def test_what_is_written_is_the_direction_of_the_picture_and_the_caption(embed: Any) -> None:
    run = embed("replicates=2")
    rows = rows_of(run).merge(run.rounds, on=["chain", "round"])
    assert len(rows) == len(run.rounds) == 6 * 2 * 3
    for row in rows.to_dict("records"):
        seen, told = (direction(derive(0, key), 8) for key in (pixel_hash(run.image(row["image_y"])), row["caption"]))
        np.testing.assert_allclose(row["image_x"], seen / np.linalg.norm(seen), atol=1e-3)
        np.testing.assert_allclose(row["text"], told / np.linalg.norm(told), atol=1e-3)
        assert row["text_cut"] == (len(row["caption"].split()) > 6)
        assert (row["status_x"], row["encoder"]) == ("ok", "toy")


@pytest.mark.parametrize(("words", "settings"), [((), {"batch_size": 5}), (("wave=2", "flush_seconds=0"), {"most": 3})])
def test_batches_and_memory_change_nothing(embed: Any, words: Any, settings: Any, tmp_path: Any) -> None:
    whole = rows_of(embed("replicates=2"))
    parts = embed("replicates=2", f"results_dir={tmp_path / 'parts'}", *words, encoders=[toy(**settings)])
    assert same(rows_of(parts), whole)


def test_a_seeds_picture_is_embedded_once_for_all_replicates(embed: Any, calls: Any) -> None:
    embed("replicates=3", "rounds=1", "stages=[play]")
    calls()
    embed("replicates=3", "rounds=1", "stages=[measure]", encoders=[toy(sides=["image"])])
    toys_classifier = 6 + 18
    assert calls()["read"] == toys_classifier + 6 + 18


def test_more_rounds_embed_only_the_new_ones_and_a_finished_run_nothing(embed: Any, calls: Any, tmp_path: Any) -> None:
    embed("rounds=1")
    calls()
    run = embed("rounds=3")
    assert calls()["read"] == 6 * 2 * 3  # by the classifier, and pictures and captions by the encoder
    assert same(rows_of(run), rows_of(embed("rounds=3", f"results_dir={tmp_path / 'whole'}")))
    calls()
    embed("rounds=3")
    assert set(calls()) <= {"built"}


def test_an_interrupted_run_goes_on(embed: Any, tmp_path: Any) -> None:
    class Asked(Watch):
        def start(self, stage: str, total: int, done: int = 0) -> None:
            self.embeds = stage.startswith("embed")

        def advance(self, count: int = 1) -> None:
            self.stopping = self.embeds

    with pytest.raises(Interrupted):
        embed(encoders=[toy(batch_size=4)], watch=Asked())
    run = Run(next((tmp_path / "results").glob("toy_*")))
    assert 0 < len(rows_of(run)) < 18
    assert len(rows_of(embed())) == 18


def test_shards_embed_what_one_process_embeds(embed: Any, tmp_path: Any) -> None:
    whole = rows_of(embed())
    for shard in ("0/2", "1/2"):
        run = embed(f"results_dir={tmp_path / 'shards'}", f"engine.shard='{shard}'")
    assert same(rows_of(run), whole)


def test_another_encoder_has_a_folder_of_its_own_and_means_do_not(ask: Any) -> None:
    settings: list[dict[str, Any]] = [{}, {"width": 9}, {"batch_size": 3}, {"sides": ["image"]}]
    folders = [replace(ask(), encoders=[toy(**one)]).encodings()[0][0] for one in settings]
    assert folders[0] == folders[2]
    assert len(set(folders)) == 3
    assert replace(ask(), encoders=[toy()]).run_id == ask().run_id


def test_a_side_that_is_not_there_is_empty(embed: Any) -> None:
    seen = rows_of(embed(encoders=[toy(sides=["image"])]))
    assert seen["text"].isna().all()
    assert seen["text_cut"].isna().all()
    assert seen["image"].notna().all()
    assert (seen["status"] == "ok").all()


def test_a_prompt_has_no_picture(embed: Any) -> None:
    words = ("dataset=prompts", "dataset.prompts=[a man,a woman]", "rounds=1")
    rows = rows_of(embed(*words))
    assert rows.groupby("round")["image"].count().to_dict() == {0: 0, 1: 2}
    assert rows["text"].notna().all()
    only_pictures = embed(*words, "arm=b", encoders=[toy(sides=["image"])])
    assert set(rows_of(only_pictures)["round"]) == {1}


def test_a_bad_item_costs_the_others_nothing_and_is_done_again_when_asked(embed: Any) -> None:
    run = embed(encoders=[toy(fail="woman")])
    rows = rows_of(run).merge(run.rounds[["chain", "round", "caption"]], on=["chain", "round"])
    named = rows["caption"].str.contains("woman")
    assert 0 < named.sum() < len(rows)
    assert (rows["status"] == np.where(named, "failed", "ok")).all()
    assert (rows["text"].isna() == named).all()
    assert rows["image"].notna().all()
    before = len(list(run.store.folder.glob("embeddings/*/part-*")))
    embed("on_failure.again=true", encoders=[toy(fail="woman")])
    assert len(list(run.store.folder.glob("embeddings/*/part-*"))) == before + 1


@pytest.mark.parametrize("blind", ["nan", "zero"])
def test_what_has_no_direction_is_not_trusted(embed: Any, blind: str) -> None:
    rows = rows_of(embed(encoders=[toy(blind=blind)]))
    assert (rows["status"] == "failed").all()
    assert rows["image"].isna().all()
    assert rows["text"].notna().all()


def test_numbers_where_vectors_belong_are_no_embeddings(embed: Any) -> None:
    assert (rows_of(embed(encoders=[toy(blind="flat")]))["status"] == "failed").all()


def test_broken_and_black_pictures_are_left_out(embed: Any) -> None:
    rows = rows_of(embed("dataset.broken=[0]", "generator.black_share=0.5", "on_failure.max_share=1", "on_failure.retries=0"))
    assert rows["image"].notna().any()
    assert rows["image"].isna().sum() == 0  # without a picture there is no caption of one either


def test_weights_are_looked_at_before_work_starts(ask: Any, tmp_path: Any) -> None:
    target = "driftloop.encoders.image_text.ImageTextEncoder"
    for model, word in ((str(tmp_path / "nowhere"), "does not exist"), ("builtin:gender", "no text side")):
        asked = replace(ask(), encoders=[Option("encoder", {"_target_": target, "model": model})])
        with pytest.raises(ModelError, match=word):
            playing.played(asked)
        assert not asked.store().folder.exists()


def test_the_metric_wants_an_encoder(ask: Any) -> None:
    with pytest.raises(DriftloopError, match=r"encoder=\[phantom_clip\]"):
        playing.played(ask("metric=[meaning]"))
