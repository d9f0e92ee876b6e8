"""UTKFace by its names, the malformed ones too."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from driftloop.core.records import Dataset, Seed
from driftloop.datasets.phantom import PhantomDataset
from driftloop.datasets.tree import DataError
from driftloop.datasets.utkface import UtkFace
from driftloop.phantom.export import utkface

WELL_FORMED = {
    "26_1_0_20170116184024662.jpg.chip.jpg": ("female", "white", "26"),
    "1_0_4_20170109194120301.jpg.chip.jpg": ("male", "others", "1"),
    "116_1_2_20170120134639935.jpg.chip.jpg": ("female", "asian", "116"),
    "24_0_1_20170116220224657 .jpg.chip.jpg": ("male", "black", "24"),
    "44_1_3_20170116235150272.pg.chip.jpg": ("female", "indian", "44"),
    "55_0_0_20170116232725357jpg.chip.jpg": ("male", "white", "55"),
}
MALFORMED = (
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_3_20170109150557335.jpg.chip.jpg",
    "53__0_20170116184028385.jpg.chip.jpg",
    "26_2_0_20170116184024662.jpg.chip.jpg",
    "26_1_5_20170116184024662.jpg.chip.jpg",
    "117_1_0_20170116184024662.jpg.chip.jpg",
    "holiday.jpg.chip.jpg",
)


@pytest.fixture
def root(tmp_path: Path, jpeg: bytes) -> Path:
    folder = tmp_path / "set" / "UTKFace"
    folder.mkdir(parents=True)
    for name in WELL_FORMED:
        (folder / name).write_bytes(jpeg)
    return folder.parent


def by_name(seeds: list[Seed]) -> dict[str, Seed]:
    return {seed.source.rsplit("/", 1)[-1]: seed for seed in seeds}


def test_names_are_the_labels(root: Path) -> None:
    found: Dataset = UtkFace(root)
    seeds = by_name(found.load())
    told = {name: tuple(seed.labels[key] for key in ("gender", "ethnicity", "years")) for name, seed in seeds.items()}
    assert told == WELL_FORMED
    first = seeds["26_1_0_20170116184024662.jpg.chip.jpg"]
    assert (first.seed_id, first.concept, "age" in first.labels) == ("utk-26_1_0_20170116184024662", "image", False)
    assert pickle.loads(pickle.dumps(first)).picture().size == (64, 48)  # noqa: S301 (our own)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_names_are_left_out_and_counted(root: Path, jpeg: bytes, name: str) -> None:
    (root / "UTKFace" / name).write_bytes(jpeg)
    found = UtkFace(root)
    with pytest.warns(UserWarning, match=rf"left out names that do not tell age, gender and race .*\(1: {name}\)"):
        assert len(found.load()) == len(WELL_FORMED)
    assert "UTKFace: left out 1 images whose names cannot be read" in found.notes()
    with pytest.raises(DataError, match="malformed=skip leaves them out"):
        UtkFace(root, malformed="error").load()


@pytest.mark.parametrize(
    ("cuts", "groups"), [([20, 40, 60], {"0-19", "20-39", "40-59", "60+"}), ([30], {"0-29", "30+"}), ([116], {"0-115", "116+"})]
)
def test_ages_in_groups_of_ones_own(root: Path, cuts: list[int], groups: set[str]) -> None:
    seeds = UtkFace(root, concept_kind="age", age_cuts=cuts).load()
    assert {seed.labels["age"] for seed in seeds} == groups
    assert all(seed.concept == seed.labels["age"] for seed in seeds)


@pytest.mark.parametrize("cuts", [[0, 3], [20, 10], [10, 10], [117]])
def test_cuts_that_are_none(root: Path, cuts: list[int]) -> None:
    with pytest.raises(ValueError, match="age_cuts must be rising ages"):
        UtkFace(root, age_cuts=cuts)


def test_years_are_no_concept(root: Path) -> None:
    with pytest.raises(ValueError, match="needs age_cuts"):
        UtkFace(root, concept_kind="age")


def test_a_copy_in_another_folder_is_the_same_image(root: Path, jpeg: bytes) -> None:
    before = UtkFace(root).fingerprint()
    shutil.copytree(root / "UTKFace", root / "crop_part1")
    assert UtkFace(root).fingerprint() == before
    (root / "crop_part1" / next(iter(WELL_FORMED))).write_bytes(jpeg + b"\0")
    with pytest.raises(DataError, match="different files of one name"):
        UtkFace(root).load()


def test_crops_and_faces_in_the_wild_are_the_same_people(root: Path, jpeg: bytes) -> None:
    (root / "part1").mkdir()
    (root / "part1" / "26_1_0_20170116184024662.jpg").write_bytes(jpeg)
    with pytest.raises(DataError, match="6 aligned crops and 1 faces in the wild of the same people"):
        UtkFace(root).load()
    assert UtkFace(root / "part1").load()[0].labels["years"] == "26"


def test_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image with a name like 26_1_0"):
        UtkFace(tmp_path).load()


def test_built_in_seeds_written_as_utkface(tmp_path: Path) -> None:
    people = PhantomDataset(n=8, concept_kind="emotion").load()
    utkface(people, tmp_path / "set")
    with pytest.warns(UserWarning, match=r"\(2: "):
        seeds = UtkFace(tmp_path / "set").load()
    assert sorted(seed.labels["gender"] for seed in seeds) == sorted(seed.labels["gender"] for seed in people)
