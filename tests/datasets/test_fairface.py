"""FairFace tables and folders as they are given out."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from driftloop.core.records import Dataset
from driftloop.datasets.fairface import FairFace
from driftloop.datasets.phantom import PhantomDataset
from driftloop.datasets.tree import DataError
from driftloop.phantom.export import fairface

HEADER = "file,age,gender,race,service_test\n"


@pytest.fixture
def root(tmp_path: Path, jpeg: bytes) -> Path:
    for name in ("train/1.jpg", "train/2.jpg", "val/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg)
    rows = "train/1.jpg,more than 70,Female,Latino_Hispanic,False\ntrain/2.jpg,0-2,Male,East Asian,True\n"
    (tmp_path / "train.csv").write_text(HEADER + rows)
    (tmp_path / "val.csv").write_text(HEADER + "val/1.jpg,20-29,Female,White,True\n")
    return tmp_path


def test_labels_and_splits(root: Path) -> None:
    found: Dataset = FairFace(root)
    first, second, third = found.load()
    assert [seed.seed_id for seed in found.load()] == ["fairface-train-1", "fairface-train-2", "fairface-val-1"]
    assert dict(first.labels) == {"age": "70+", "gender": "female", "ethnicity": "latino hispanic"}
    assert dict(second.labels) == {"age": "0-2", "gender": "male", "ethnicity": "east asian"}
    assert (third.split, third.concept, third.concept_kind, third.source) == ("val", "image", "image", "val/1.jpg")
    assert pickle.loads(pickle.dumps(first)).picture().size == (64, 48)  # noqa: S301 (our own)


def test_a_label_may_be_the_concept(root: Path) -> None:
    assert [seed.concept for seed in FairFace(root, concept_kind="age").load()] == ["70+", "0-2", "20-29"]
    with pytest.raises(ValueError, match="concept_kind must be one of image, gender, age, ethnicity; got 'emotion'"):
        FairFace(root, concept_kind="emotion")


def test_one_split_needs_only_its_own_files(root: Path) -> None:
    (root / "train.csv").unlink()
    assert len(FairFace(root, split="val").load()) == 1
    with pytest.raises(DataError, match=r"no FairFace .*looked for train.csv"):
        FairFace(root, split="train").load()


def test_tables_under_their_download_names(root: Path) -> None:
    before = FairFace(root).fingerprint()
    for split in ("train", "val"):
        (root / f"{split}.csv").rename(root / f"fairface_label_{split}.csv")
    assert FairFace(root).fingerprint() == before
    (root / "train.csv").write_text(HEADER)
    with pytest.raises(DataError, match="several tables of train"):
        FairFace(root).load()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train/2.jpg,3-Sep,Male,White,True", r"line 3: age '3-Sep' is unknown; known are 0-2, 3-9"),
        ("train/2.jpg,3-9,Man,White,True", "line 3: gender 'Man' is unknown"),
        ("train/2.jpg,3-9,Male,Asian,True", "line 3: race 'Asian' is unknown; known are white"),
        ("train/2.jpg,,Male,White,True", "line 3: column 'age' is empty"),
        ("../../x.jpg,3-9,Male,White,True", r"line 3: '../../x.jpg' leads outside"),
        ("/etc/x.jpg,3-9,Male,White,True", "leads outside"),
        ("train/1.jpg,3-9,Male,White,True", r"seed ids must be unique"),
        ("train/9.jpg,3-9,Male,White,True", r"labels without an image \(1: train/9.jpg\)"),
    ],
)
def test_bad_rows_are_named(root: Path, row: str, message: str) -> None:
    (root / "train.csv").write_text(f"{HEADER}train/1.jpg,0-2,Male,White,True\n{row}\n")
    with pytest.raises(DataError, match=message):
        FairFace(root).load()


def test_a_table_without_its_columns(root: Path) -> None:
    (root / "val.csv").write_text("file,age,gender\n")
    with pytest.raises(DataError, match="has no column 'race'; it has file, age, gender"):
        FairFace(root).load()


def test_built_in_seeds_written_as_fairface(tmp_path: Path) -> None:
    people = PhantomDataset(n=10, concept_kind="emotion").load()
    fairface(people, tmp_path / "set")
    seeds = {seed.seed_id: seed for seed in FairFace(tmp_path / "set").load()}
    assert len(seeds) == 10
    assert seeds["fairface-val-5"].labels["gender"] == people[4].labels["gender"]
