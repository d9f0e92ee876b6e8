"""The metric `meaning`: planted cosines and rates through the tables, and loops of the built-in world that keep or lose all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import driftloop
from driftloop.analysis.material import Encoding, Instrument, Material
from driftloop.analysis.study import Settings
from driftloop.core.schemas import EMBEDDINGS
from driftloop.metrics.meaning import DECAY_COLUMNS, SEMANTIC_COLUMNS, Meaning
from driftloop.statistics.decay import NOT_IDENTIFIABLE
from playing import composed, played
from rows import one, only

WIDTH, ROUNDS = 32, 8
KEPT = {"image": 0.3 + 0.6 * np.arange(1.0, ROUNDS) ** -0.8, "text": np.full(ROUNDS - 1, 0.75)}  # cosine with round 0
LEVEL = 0.95


class Kept:
    """A store that holds one table of readings and one of embeddings."""

    def __init__(self, readings: pd.DataFrame, embeddings: pa.Table) -> None:
        self.table, self.embeddings = readings, embeddings

    def readings(self, folder: str) -> pd.DataFrame:
        return self.table

    def rows(self, folder: str, columns: list[str]) -> pa.Table:
        return self.embeddings.select(columns)


def at_cosine(of: Any, cosine: float, draws: Any) -> Any:
    away = draws.standard_normal(WIDTH)
    away -= (away @ of) * of
    return cosine * of + np.sqrt(1 - cosine**2) * away / np.linalg.norm(away)


def planted(
    n: int = 80, replicates: int = 1, first: int = 0, sides: tuple[str, ...] = ("image", "text"), **kept: Any
) -> Material:
    """Every chain starts at its seed's own direction, which those of a concept share in part, and keeps KEPT of it."""
    draws, kept, n = np.random.default_rng(1), KEPT | kept, 80
    rows = []
    for number in range(n):
        common = np.eye(WIDTH)[number % 2] * 0.6
        for name in ("image", "text"):
            start = common + draws.standard_normal(WIDTH) / np.sqrt(WIDTH) * 0.8
            start /= np.linalg.norm(start)
            for replicate in range(replicates):
                for r in range(ROUNDS):
                    vector = start if r == first else at_cosine(start, kept[name][r - first - 1], draws) if r > first else None
                    rows.append((number, replicate, r, name, vector))
    table = pd.DataFrame(rows, columns=["number", "replicate", "round", "side", "vector"])
    table = table.set_index(["number", "replicate", "round", "side"])["vector"].unstack("side").reset_index()  # noqa: PD010
    table["seed_id"] = table["number"].map("s{:03d}".format)
    table = table.assign(run="r", chain=table["seed_id"] + "/" + table["replicate"].astype(str), status="ok", encoder="toy")
    table["text_cut"] = (table["round"] == 2) & (table["number"] < n // 4)
    embeddings = pa.Table.from_pylist(
        [
            {**row, **{name: np.float16(row[name]) if name in sides and row[name] is not None else None for name in KEPT}}
            for row in table.drop(columns="number").to_dict("records")
        ],
        EMBEDDINGS,
    )
    chains = table[["run", "seed_id", "replicate", "chain", "round", "status"]]
    readings = chains.assign(classifier="vit", attribute="gender", label="female")
    seeds = pd.DataFrame({"seed_id": sorted(set(table["seed_id"])), "concept_kind": "emotion"})
    return Material(
        store=Kept(readings[readings["round"] >= first], embeddings),  # type: ignore[arg-type]
        seeds=seeds.assign(concept=["joy", "fear"] * (n // 2)),
        rows=chains.assign(image=np.where(chains["round"] < first, "", "x"), caption="a person"),
        instruments=[Instrument(name="vit", folder="labels/vit", kind="labels", categories={"gender": ("female", "male")})],
        settings=Settings(root_seed=0, resamples=300, level=LEVEL, ordered=frozenset(), confirmatory=None),
        baseline_round=first,
        encodings=[Encoding(name="toy", folder="embeddings/toy-1")],
    )


def tables(material: Material) -> dict[str, pd.DataFrame]:
    return dict(Meaning(encoders=["toy"]).tables(material))


def test_planted_cosines_and_rates_come_out_for_every_group() -> None:
    found = tables(planted())
    semantic, decay = found["semantic"], found["semantic_decay"]
    assert list(semantic.columns) == SEMANTIC_COLUMNS
    assert list(decay.columns) == DECAY_COLUMNS
    assert set(semantic["concept"]) == {"all", "all_standardised", "joy", "fear"}
    assert set(semantic["comparison"]) == {"image_image", "text_text", "image_text", "text_image"}
    for concept in ("all", "all_standardised", "joy", "fear"):
        rows = only(semantic, concept=concept, comparison="image_image", reference="seed").set_index("round")
        np.testing.assert_allclose(rows["value"], KEPT["image"], atol=1e-3)
        assert ((rows["low"] < KEPT["image"]) & (rows["high"] > KEPT["image"])).all()
        assert (rows["floor_in_concept_low"] > rows["floor_high"]).iloc[0]  # the seeds of a concept are alike
        assert rows["ceiling"].isna().all()
        assert (rows["n_seeds"] == (80 if concept.startswith("all") else 40)).all()
    rate = one(decay, concept="all", comparison="image_image", quantity="semantic_drift_rate")
    assert (rate["status"], rate["value"]) == ("ok", pytest.approx(0.8, abs=0.02))
    assert rate["low"] <= rate["value"] <= rate["high"]
    mean = one(decay, concept="all", comparison="image_image", quantity="mean_cumulative_drift")
    assert mean["value"] == pytest.approx(KEPT["image"].mean(), abs=1e-3)
    flat = one(decay, concept="all", comparison="text_text", quantity="semantic_drift_rate")
    assert flat["status"].startswith(NOT_IDENTIFIABLE)
    assert np.isnan(flat["value"])


def test_the_same_in_every_round_is_one_and_so_is_the_ceiling() -> None:
    same = tables(planted(replicates=2, image=np.ones(ROUNDS - 1), text=np.ones(ROUNDS - 1)))["semantic"]
    for comparison in ("image_image", "text_text"):
        rows = only(same, concept="all", comparison=comparison)
        np.testing.assert_allclose(rows[["value", "ceiling"]], 1.0, atol=1e-6)
        assert (rows["n_seeds_ceiling"] == 80).all()


def test_what_has_nothing_left_of_the_seed_is_at_the_floor() -> None:
    """Round r shows what another seed began with."""
    material = planted()
    table = material.store.embeddings  # type: ignore[attr-defined]
    frame = table.to_pandas()
    starts = frame[frame["round"] == 0].set_index("seed_id")["image"]
    other = dict(zip(starts.index, np.random.default_rng(2).permutation(starts.to_numpy()), strict=True))
    frame["image"] = [row["image"] if row["round"] == 0 else other[row["seed_id"]] for row in frame.to_dict("records")]
    lost = pa.Table.from_pylist([{**row, "run": "r"} for row in frame.to_dict("records")], EMBEDDINGS)
    material.store.embeddings = lost  # type: ignore[attr-defined]
    rows = only(tables(material)["semantic"], concept="all", comparison="image_image", reference="seed")
    assert ((rows["low"] < rows["floor"]) & (rows["floor"] < rows["high"])).all()


def test_generations_and_references_are_those_of_the_game() -> None:
    """A picture, its caption, the picture drawn from that …: one step each."""
    found = only(tables(planted())["semantic"], concept="joy")
    steps = {
        (name, reference): part["generation"].tolist() for (name, reference), part in found.groupby(["comparison", "reference"])
    }
    later = range(1, ROUNDS)
    assert steps["image_image", "seed"] == steps["text_text", "seed"] == [2 * r for r in later]
    assert steps["image_text", "seed"] == [2 * r + 1 for r in range(ROUNDS)]
    assert steps["text_image", "seed"] == [2 * r - 1 for r in later]
    assert set(steps["image_image", "previous"]) == set(steps["text_text", "previous"]) == {2}
    assert steps["image_text", "previous"] == [1] * ROUNDS
    assert steps["text_image", "previous"] == [1] * (ROUNDS - 1)
    both = found.pivot_table(index=["comparison", "round"], columns="reference", values="value")
    first: Any = both.loc[("image_text", 0)]
    np.testing.assert_allclose(first["seed"], first["previous"])


def test_a_text_seeded_chain_begins_with_its_prompt_and_its_first_picture() -> None:
    """Before round 1 there is only a prompt; the directions of round 1 are planted as the beginning of both."""
    found = only(tables(planted(first=1, image=KEPT["image"][:-1], text=KEPT["text"][:-1]))["semantic"], concept="all")
    pictures = only(found, comparison="image_image", reference="seed").set_index("round")["value"]
    assert pictures.index.tolist() == list(range(2, ROUNDS))
    np.testing.assert_allclose(pictures, KEPT["image"][:-1], atol=1e-3)


def test_cut_captions_are_counted_where_a_caption_takes_part() -> None:
    found = only(tables(planted())["semantic"], concept="all")
    cut = found.set_index(["comparison", "reference", "round"])["captions_cut"].sort_index()
    assert cut["text_text", "seed", 2] == 0.25
    assert cut["text_text", "seed", 3] == 0
    assert cut["text_text", "previous", 3] == 0.25
    assert cut["text_image", "previous", 3] == 0.25
    assert cut["image_text", "seed", 2] == 0.25
    assert cut["image_image", "seed"].isna().all()


def test_an_encoder_without_a_side_is_not_compared_in_it() -> None:
    found = tables(planted(sides=("image",)))
    assert set(found["semantic"]["comparison"]) == {"image_image"}
    assert found["semantic"]["captions_cut"].isna().all()


def test_rows_by_seed_are_those_that_the_means_are_of() -> None:
    found = tables(planted(replicates=2))
    by_seed = found["by_seed"]
    assert set(by_seed["quantity"]) >= {"image_image by toy-1", "text_text by toy-1"}
    means = by_seed[by_seed["quantity"] == "image_image by toy-1"].groupby("round")["value"].mean()
    rows = only(found["semantic"], concept="all", comparison="image_image", reference="seed").set_index("round")
    np.testing.assert_allclose(means, rows["value"])


def test_seeds_decide_the_draws_and_nothing_else() -> None:
    one_time, again = (tables(planted())["semantic_decay"] for _ in range(2))
    pd.testing.assert_frame_equal(one_time, again)


# The built-in world ----------------------------------------------------------------------------------------------------

WORDS = ("experiment=phantom_exact", "encoder=[phantom_clip]", "metric=[meaning]", "truth=none", "rounds=2", "replicates=2",
         "dataset.limit=192", "dataset.n=192", "analysis.resamples=100", "captioner.phrasing=plain",
         "stages=[play,measure,analyse]")  # fmt: skip


@pytest.mark.slow
def test_the_built_in_encoder_sees_what_is_kept_and_what_is_lost(tmp_path: Path) -> None:
    """A captioner that tells all keeps pictures at the ceiling and captions the same; a fixed prompt leaves the floor.

    How near the floor is asked at z = 3.3 (p = .001 a row): at 192 seeds a similarity .04 off it would be told.
    """
    told = ("captioner.omission=0",)
    lost = (*told, "mitigation=[fixed_prompt]", "mitigation.fixed_prompt.template='a photo of a person'")
    keeps, loses = (played(composed(*WORDS, *more, f"results_dir={tmp_path}")) for more in (told, lost))
    kept, gone = (only(run.tables["semantic"], concept="all", reference="seed") for run in (keeps, loses))
    for row in only(kept, comparison="text_text").to_dict("records"):
        assert row["value"] == pytest.approx(1, abs=1e-3)
        assert row["ceiling"] == pytest.approx(1, abs=1e-3)
    for row in only(kept, comparison="image_image").to_dict("records"):
        assert row["low"] <= row["ceiling"] <= row["high"] or row["value"] > row["ceiling"]
        assert row["ceiling_low"] > row["floor_in_concept_high"] > row["floor_low"]
    for row in only(gone, comparison="image_image").to_dict("records"):
        half_width = (row["high"] - row["low"]) / 2
        assert half_width < 0.03
        assert row["value"] == pytest.approx(row["floor"], abs=3.3 / 1.96 * half_width)
        assert row["high"] < one(kept, comparison="image_image", round=row["round"])["low"]
    table = driftloop.load_runs(tmp_path).tables["semantic"]
    assert set(table["mitigation"]) == {"none", "fixed_prompt"}
