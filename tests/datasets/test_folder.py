"""Any images with a table of labels."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from driftloop.core.records import Dataset
from driftloop.datasets.folder import Folder
from driftloop.datasets.tree import DataError

TABLE = """image,concept,label_gender,age,person,split,note
a.jpg,joy,female,20-39,p1,train,x
sub/b.jpg,joy,male,,p2,test,y
c.png,fear,,70+,p3,,
"""


@pytest.fixture
def root(tmp_path: Path, jpeg: bytes) -> Path:
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg", "c.png"):
        (folder / name).write_bytes(jpeg)
    (folder / "labels.csv").write_text(TABLE)
    return folder


def test_images_and_labels_become_seeds(root: Path) -> None:
    dataset: Dataset = Folder(root, concept_kind="emotion", split_column="split", name="mine")
    a, c, b = dataset.load()
    assert [seed.seed_id for seed in (a, b, c)] == ["a.jpg", "sub-b.jpg", "c.png"]
    assert dict(a.labels) == {"gender": "female", "age": "20-39"}
    assert dict(b.labels) == {"gender": "male"}
    assert dict(c.labels) == {"age": "70+"}
    assert (b.source, b.concept, b.concept_kind, b.split, b.dataset) == ("sub/b.jpg", "joy", "emotion", "test", "mine")
    assert pickle.loads(pickle.dumps(b)).picture().size == (64, 48)  # noqa: S301 (our own bytes)


def test_columns_can_be_chosen(root: Path) -> None:
    seeds = Folder(root, id_column="person", concept_column=None, label_columns={"mood": "concept"}).load()
    assert [seed.seed_id for seed in seeds] == ["p1", "p2", "p3"]
    assert [dict(seed.labels) for seed in seeds] == [{"mood": "joy"}, {"mood": "joy"}, {"mood": "fear"}]
    assert {seed.concept for seed in seeds} == {"image"}


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_other_tables_say_the_same(root: Path, suffix: str) -> None:
    before = Folder(root).fingerprint()
    frame = pd.read_csv(root / "labels.csv", dtype=str)
    if suffix == "tsv":
        frame.to_csv(root / "labels.tsv", sep="\t", index=False)
    else:
        frame.to_parquet(root / "labels.parquet", index=False)
    assert Folder(root, labels=f"labels.{suffix}").fingerprint() == before


def test_numbers_of_a_parquet_are_written_plainly(root: Path) -> None:
    frame = pd.DataFrame({"image": ["a.jpg", "sub/b.jpg", "c.png"], "concept": [1.0, 2.0, 2.5], "age": [30.0, None, 4.0]})
    frame.to_parquet(root / "labels.parquet")
    a, c, b = Folder(root, labels="labels.parquet").load()
    assert [seed.concept for seed in (a, b, c)] == ["1", "2", "2.5"]
    assert [dict(seed.labels) for seed in (a, b, c)] == [{"age": "30"}, {}, {"age": "4"}]


def test_names_are_relative_to_the_table(root: Path) -> None:
    (root / "tables").mkdir()
    (root / "tables" / "t.csv").write_text("image,concept\n../a.jpg,x\n../sub/b.jpg,x\n./../c.png,x\n")
    seeds = Folder(root, labels="tables/t.csv").load()
    assert [seed.source for seed in seeds] == ["a.jpg", "c.png", "sub/b.jpg"]


def test_one_image_may_be_several_seeds(root: Path) -> None:
    (root / "labels.csv").write_text(TABLE + "a.jpg,fear,male,0-3,p4,,\n")
    assert len(Folder(root, id_column="person").load()) == 4
    with pytest.raises(DataError, match=r"seed ids must be unique.*a.jpg \(labels.csv line 2 and labels.csv line 5\)"):
        Folder(root).load()


@pytest.mark.parametrize("kept", ["error", "skip"])
def test_a_label_without_an_image_and_the_reverse(root: Path, kept: str) -> None:
    (root / "c.png").rename(root / "d.png")
    message = r"labels without an image \(1: c.png\) and images without a label \(1: d.png\)"
    if kept == "error":
        with pytest.raises(DataError, match=message):
            Folder(root).load()
    else:
        with pytest.warns(UserWarning, match=message):
            assert [seed.source for seed in Folder(root, missing="skip").load()] == ["a.jpg", "sub/b.jpg"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "C:\\a.jpg"])
def test_names_that_lead_outside_are_refused(root: Path, name: str) -> None:
    (root / "labels.csv").write_text(f"image,concept\n{name},x\n")
    with pytest.raises(DataError, match=r"labels.csv line 2: .*leads outside"):
        Folder(root).load()
    with pytest.raises(DataError, match="leads outside"):
        Folder(root, labels=name)


@pytest.mark.parametrize("seed_id", ["../x", "a/b", "a\\b", "x" * 201, "..", "a\tb"])
def test_ids_that_could_be_paths_are_refused(root: Path, seed_id: str) -> None:
    (root / "labels.csv").write_text(f'image,concept,id\na.jpg,x,"{seed_id}"\n')
    with pytest.raises(DataError, match=r"line 2: .*cannot be a seed id"):
        Folder(root, id_column="id").load()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("img,concept\na.jpg,x\n", {}, "no column 'image'; it has img, concept"),
        (TABLE, {"id_column": "persn"}, "no column 'persn'.*Did you mean \"person\""),
        (TABLE, {"label_columns": {"age": "years"}}, "no column 'years'"),
        ("image,concept\na.jpg,\n", {}, "line 2: column 'concept' is empty"),
        ("image,concept\n,x\n", {}, "line 2: column 'image' is empty"),
        ("image,concept\na.jpg,all\n", {}, "no concept can be called 'all'"),
        ("image,concept\na.jpg,x,y\n", {}, "line 2: 3 fields, but the header names 2"),
        ("image,concept,image\n", {}, "names the column 'image' twice"),
        ("image,concept,age,label_age\na.jpg,x,1,2\n", {}, "both label age"),
        ('image,concept\n"a.jpg,x\n', {}, "labels.csv line 2"),
        ("", {}, "labels.csv is empty"),
    ],
)
def test_bad_tables_are_named(root: Path, table: str, options: dict[str, Any], message: str) -> None:
    (root / "labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        Folder(root, **options).load()


def test_tables_that_cannot_be_read(root: Path) -> None:
    (root / "bad.parquet").write_bytes(b"PAR1 no")
    (root / "labels.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match=r"bad.parquet is not a readable parquet"):
        Folder(root, labels="bad.parquet").load()
    with pytest.raises(DataError, match=r"read from .csv, .tsv and .parquet"):
        Folder(root, labels="labels.xlsx").load()
    with pytest.raises(DataError, match=r'no file .label.csv.*Did you mean "labels.csv"'):
        Folder(root, labels="label.csv").load()


def test_no_seeds_and_no_root_are_errors(root: Path) -> None:
    for name in ("a.jpg", "sub/b.jpg", "c.png"):
        (root / name).unlink()
    (root / "labels.csv").write_text("image,concept\n")
    with pytest.raises(DataError, match=r"no seeds: labels.csv"):
        Folder(root).load()
    with pytest.raises(DataError, match="no data set at"):
        Folder(root / "nowhere")


def test_the_fingerprint_follows_content_not_place(root: Path, tmp_path: Path, jpeg: bytes) -> None:
    before = Folder(root).fingerprint()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in root.rglob("*"):
            archive.write(path, path.relative_to(root))
    assert Folder(tmp_path / "set.zip").fingerprint() == before
    assert Folder(root, concept_kind="emotion").fingerprint() != before
    (root / "a.jpg").write_bytes(jpeg + b"\0")
    larger = Folder(root).fingerprint()
    (root / "labels.csv").write_text(TABLE.replace("female", "male"))
    assert len({before, larger, Folder(root).fingerprint()}) == 3
