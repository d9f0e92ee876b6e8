"""Text prompts as seeds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from driftloop.core.records import Dataset
from driftloop.datasets.prompts import Prompts
from driftloop.datasets.tree import DataError

TEXTS = ["a nurse at work", "a smiling person"]


def test_a_prompt_is_the_caption_of_round_0() -> None:
    dataset: Dataset = Prompts(prompts=TEXTS, concept_kind="work")
    seeds = dataset.load()
    assert [seed.caption for seed in seeds] == TEXTS
    assert all((seed.picture, seed.concept, seed.concept_kind) == (None, "prompt", "work") for seed in seeds)
    assert all(seed.seed_id.startswith("prompt-") for seed in seeds)


def test_files_say_the_same_as_lists(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\ufeff" + "\n\n".join(TEXTS) + "\n", "utf-8")
    frame = pd.DataFrame({"prompt": TEXTS})
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    expected = Prompts(prompts=TEXTS)
    for name in ("p.txt", "p.csv", "p.parquet"):
        read = Prompts(file=tmp_path / name)
        assert [(s.seed_id, s.caption) for s in read.load()] == [(s.seed_id, s.caption) for s in expected.load()]
        assert read.fingerprint() == expected.fingerprint()


def test_concept_and_id_columns(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,concept,id\na nurse,work,n1\na cook,,\n")
    nurse, cook = Prompts(file=tmp_path / "p.csv").load()
    assert (nurse.seed_id, nurse.concept, nurse.source) == ("n1", "work", "p.csv")
    assert (cook.seed_id[:7], cook.concept) == ("prompt-", "prompt")


def test_ids_follow_the_content_not_the_place() -> None:
    ids = {seed.caption: seed.seed_id for seed in Prompts(prompts=TEXTS).load()}
    more = {seed.caption: seed.seed_id for seed in Prompts(prompts=["new", *reversed(TEXTS)]).load()}
    assert all(more[text] == ids[text] for text in TEXTS)


def test_the_fingerprint_follows_the_content() -> None:
    prints = {
        Prompts(prompts=TEXTS).fingerprint(),
        Prompts(prompts=TEXTS[::-1]).fingerprint(),
        Prompts(prompts=TEXTS[:1]).fingerprint(),
        Prompts(prompts=TEXTS, concept_kind="work").fingerprint(),
    }
    assert len(prints) == 3


def test_the_same_prompt_twice_is_an_error() -> None:
    with pytest.raises(DataError, match=r"unique.*prompt 1 and prompt 3"):
        Prompts(prompts=["x", "y", " x "]).load()


@pytest.mark.parametrize("prompts", [[], ["", "  "]])
def test_no_prompt_is_an_error(prompts: list[str]) -> None:
    with pytest.raises(DataError, match="holds no prompt"):
        Prompts(prompts=prompts).load()


def test_exactly_one_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either prompts"):
        Prompts()
    with pytest.raises(ValueError, match="either prompts"):
        Prompts(prompts=TEXTS, file=tmp_path)
    with pytest.raises(ValueError, match="must be a list"):
        Prompts(prompts="one text")
    with pytest.raises(DataError, match="no file of prompts"):
        Prompts(file=tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("text\nx\n", "no column 'prompt'; it has text"),
        ("prompt,id\n,7\n", "line 2: column 'prompt' is empty"),
        ("prompt,id\nx,../7\n", "line 2: '../7' cannot be a seed id"),
        ("prompt,id\nx,7\ny,7\n", "unique.*line 2 and .*line 3"),
        ("prompt,concept\nx,all\n", "no concept can be called"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        Prompts(file=tmp_path / "p.csv").load()
