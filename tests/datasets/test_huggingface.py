"""Folders that the `datasets` library wrote or reads, on this disk alone."""

from __future__ import annotations

import pickle
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from driftloop.core.errors import ConfigError
from driftloop.core.records import Dataset, Seed
from driftloop.datasets.huggingface import HuggingFace
from driftloop.datasets.tree import DataError
from playing import environment

library = pytest.importorskip("datasets")
COLOURS = ("red", "green", "blue", "white")


def png(colour: str) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, "PNG")
    return buffer.getvalue()


def rows(**more: Any) -> Any:
    columns = {
        "image": [{"bytes": png(colour), "path": None} for colour in COLOURS],
        "label": [0, 1, 1, 0],
        "who": ["a", "b", "c", "d"],
        "gender": ["female", None, "male", "female"],
        **more,
    }
    features = library.Features(
        {"image": library.Image(), "label": library.ClassLabel(names=["joy", "fear"])}
        | {name: library.Value("string") for name in columns if name not in ("image", "label")}
    )
    return library.Dataset.from_dict(columns, features=features)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    rows().save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def colour(seed: Seed) -> Any:
    assert seed.picture is not None
    return seed.picture().getpixel((0, 0))


def test_what_save_to_disk_wrote(saved: Path) -> None:
    found: Dataset = HuggingFace(saved, concept_kind="emotion", label_columns={"gender": "gender"})
    seeds = found.load()
    assert [(seed.seed_id, seed.concept) for seed in seeds] == [
        ("all-0000000", "joy"), ("all-0000001", "fear"), ("all-0000002", "fear"), ("all-0000003", "joy"),
    ]  # fmt: skip
    assert [dict(seed.labels) for seed in seeds] == [{"gender": "female"}, {}, {"gender": "male"}, {"gender": "female"}]
    assert colour(seeds[2]) == (0, 0, 255)
    assert colour(pickle.loads(pickle.dumps(seeds[3]))) == (255, 255, 255)  # noqa: S301 (our own)
    assert (seeds[0].dataset, seeds[0].concept_kind, seeds[0].split) == ("huggingface", "emotion", "all")


def test_columns_can_be_chosen(saved: Path) -> None:
    seeds = HuggingFace(saved, id_column="who", concept_column=None).load()
    assert [(seed.seed_id, seed.concept) for seed in seeds] == [(name, "image") for name in "abcd"]
    with pytest.raises(DataError, match=r"no column 'lable'; it has image, label, who, gender. Did you mean \"label\""):
        HuggingFace(saved, concept_column="lable").load()
    with pytest.raises(DataError, match="all row 1: column 'gender' is empty"):
        HuggingFace(saved, concept_column="gender").load()


def test_splits(tmp_path: Path) -> None:
    library.DatasetDict({"train": rows(), "test": rows()}).save_to_disk(str(tmp_path / "both"))
    assert len(HuggingFace(tmp_path / "both").load()) == 8
    assert {seed.split for seed in HuggingFace(tmp_path / "both", split="test").load()} == {"test"}
    with pytest.raises(DataError, match="no split 'val'; it has train, test"):
        HuggingFace(tmp_path / "both", split="val").load()


def test_parquet_files_by_split(tmp_path: Path) -> None:
    (tmp_path / "set/data").mkdir(parents=True)
    rows().to_parquet(str(tmp_path / "set/data/train-00000-of-00001.parquet"))
    rows().to_parquet(str(tmp_path / "set/data/test-00000-of-00001.parquet"))
    seeds = HuggingFace(tmp_path / "set", cache=tmp_path / "cache").load()
    assert sorted({seed.split for seed in seeds}) == ["test", "train"]
    assert len(seeds) == 8
    assert {seed.concept for seed in seeds} == {"joy", "fear"}
    assert colour(seeds[0]) == (255, 0, 0)


def test_an_image_folder(tmp_path: Path) -> None:
    for name, shown in (("joy/a.png", "red"), ("joy/b.png", "green"), ("fear/c.png", "blue")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(png(shown))
    found = HuggingFace(tmp_path / "set", cache=tmp_path / "cache")
    assert sorted(seed.concept for seed in found.load()) == ["fear", "joy", "joy"]
    assert {colour(seed) for seed in found.load()} == {(255, 0, 0), (0, 128, 0), (0, 0, 255)}
    assert found.fingerprint() == HuggingFace(tmp_path / "set", cache=tmp_path / "cache").fingerprint()


def test_a_row_that_points_out_of_the_root_is_refused(tmp_path: Path) -> None:
    """Path rows are what a table written by somebody else can hold."""
    (tmp_path / "secret.png").write_bytes(png("red"))
    (tmp_path / "set").mkdir()
    for number, path in enumerate(("../secret.png", str(tmp_path / "secret.png"))):
        table = library.Dataset.from_dict({"image": [{"bytes": None, "path": path}], "label": ["x"]})
        table.to_parquet(str(tmp_path / f"set/part{number}.parquet"))
    for split in ("part0", "part1"):
        found = HuggingFace(tmp_path / "set", split=split, cache=tmp_path / "cache")
        with pytest.raises(DataError, match="no file inside"):
            found.fingerprint()
        with pytest.raises(DataError, match="no file inside"):
            colour(found.load()[0])


def test_the_fingerprint_is_that_of_the_content(saved: Path, tmp_path: Path) -> None:
    rows().save_to_disk(str(tmp_path / "again"))
    rows(gender=["male", None, "male", "female"]).save_to_disk(str(tmp_path / "other"))
    roots = (saved, tmp_path / "again", tmp_path / "other")
    prints = [HuggingFace(root, label_columns={"gender": "gender"}).fingerprint() for root in roots]
    assert prints[0] == prints[1] != prints[2]


def test_something_else(tmp_path: Path) -> None:
    (tmp_path / "loader.py").write_text("raise SystemExit('code of the folder ran')")
    with pytest.raises(DataError, match=r"looked for state.json, .*Found 1: loader.py"):
        HuggingFace(tmp_path).load()
    with pytest.raises(DataError, match="no data set at"):
        HuggingFace(tmp_path / "nowhere")


def test_without_the_library_the_extra_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'driftloop\[huggingface_datasets\]'"):
        HuggingFace(saved).load()


def test_the_module_itself_does_not_load_the_library() -> None:
    code = "import sys, driftloop.datasets.huggingface; print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "False"
