"""Copies of the licensed sets in their real formats, 300 seeds each, through the whole machinery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comparing import check_whole
from driftloop.core.packs import pixel_hash
from driftloop.core.records import Seed
from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom.export import LAYOUTS, ORIGINAL, PERSON, phase, raf_db
from driftloop.runs import Run
from playing import composed, played

N = 300
LOOP = ("experiment=none", "generator=stand_in", "captioner=stand_in", "classifier=[toy]", "allow_targets=[doubles]",
        "stages=[play,measure,analyse,report]", "rounds=1", "analysis.resamples=100", "dataset.limit=null")  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:RAF-DB. no gender:UserWarning")]


@pytest.fixture(scope="module")
def people() -> list[Seed]:
    return PhantomDataset(n=N, concept_kind="emotion").load()


@pytest.fixture(scope="module")
def copies(people: Sequence[Seed], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    for layout in LAYOUTS:
        raf_db(people, folder / layout, layout)
    phase(people, folder / "phase", box="xyxy", annotations="both", zips=True)
    return folder


@pytest.fixture
def run(copies: Path, tmp_path: Path) -> Callable[..., Run]:
    def ran(dataset: str, copy: str, *words: str) -> Run:
        root = (f"dataset={dataset}", f"dataset.root={copies / copy}", f"results_dir={tmp_path / 'results'}")
        return played(composed(*LOOP, *root, *words))

    return ran


def raf_id(number: int) -> str:
    """The id of the exported seed: every fifth is a test image."""
    test = number % 5 == 4
    return f"raf-test-{number // 5 + 1:04d}" if test else f"raf-train-{number - number // 5 + 1:05d}"


def check_played(run: Run) -> None:
    """Every chain is there in every round and read, and the report says nothing of a single seed."""
    check_whole(run, chains=N, rounds=1)
    assert set(run.rounds["status"]) == {"ok"}
    assert len(run.readings[["chain", "round"]].drop_duplicates()) == 2 * N
    page = (run.store.folder / "report/index.html").read_text()
    assert not [name for name in run.seeds["seed_id"] if name in page]
    assert any("seeds" in note for note in run.store.provenance()[-1]["dataset_notes"])


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("basic", ()),
        ("zips", ("dataset.images=original",)),
        ("basic_nested", ("dataset.images=original", "dataset.crop=face", "dataset.margin=0")),
        ("repack", ()),
    ],
)
def test_raf_db(run: Callable[..., Run], copies: Path, people: Sequence[Seed], layout: str, words: Sequence[str]) -> None:
    found = run("raf_db", layout, *words)
    check_played(found)
    seeds: Any = found.seeds.set_index("seed_id")
    names = ["concept"] if layout == "repack" else ["concept", "label_gender", "label_age", "label_emotion"]
    for number, person in enumerate(people):
        truth = {"concept": person.concept} | {f"label_{name}": label for name, label in person.labels.items()}
        assert seeds.loc[raf_id(number), names].to_dict() == {name: truth[name] for name in names}
    first = seeds.loc["raf-train-00001"]
    assert first["image_sha256"] == pixel_hash(first_picture(copies, words))


def first_picture(copies: Path, words: Sequence[str]) -> Image.Image:
    """What the first training image should be, opened by Pillow alone."""
    kind = "original/train_00001.jpg" if words else "aligned/train_00001_aligned.jpg"
    with Image.open(copies / "basic/basic/Image" / kind) as picture:
        assert not words or picture.size == ORIGINAL
        return picture.crop(PERSON) if "dataset.crop=face" in words else picture.copy()


@pytest.mark.parametrize("kind", ["emotion", "activity"])
@pytest.mark.parametrize("labels", ["regions", "all"])
def test_phase(run: Callable[..., Run], people: Sequence[Seed], kind: str, labels: str) -> None:
    found = run("phase", "phase", f"dataset.concept_kind={kind}", f"dataset.labels={labels}")
    check_played(found)
    assert any("regions are xyxy" in note for note in found.store.provenance()[-1]["dataset_notes"])
    for _, seed in found.seeds.iterrows():
        person = people[int(str(seed["seed_id"])[-9:])]
        assert seed["label_gender"] == person.labels["gender"]
        assert seed["concept"] == seed[f"label_{kind}"]
        if "00007" not in str(seed["seed_id"]) and int(str(seed["seed_id"])[-9:]) % 50 != 7:
            assert person.picture is not None
            assert seed["image_sha256"] == pixel_hash(person.picture())


def test_exact_models_read_the_people_of_phase(run: Callable[..., Run], people: Sequence[Seed]) -> None:
    """Cut out of its photograph a person is the very pixels that the exact instrument reads."""
    exact = ("generator=exact", "captioner=exact", "classifier=[exact]", "on_failure.max_share=1", "stages=[play,measure]")
    found = run("phase", "phase", *exact)
    readings = found.readings.query("round == 0 and attribute == 'gender' and status == 'ok'")
    truth = {f"phase-{'val' if n % 5 == 4 else 'train'}-{n:09d}": p.labels["gender"] for n, p in enumerate(people)}
    assert len(readings) == N - N // 50  # those whose box is sloppy hold more than the person
    assert all(truth[row["seed_id"]] == row["label"] for _, row in readings.iterrows())


def test_a_raised_limit_computes_only_what_is_new(run: Callable[..., Run]) -> None:
    few = run("raf_db", "zips", "dataset.limit=40", "dataset.limit_per_concept=5", "stages=[play]")
    before = few.rounds
    more = run("raf_db", "zips", "dataset.limit=80", "dataset.limit_per_concept=9", "stages=[play]")
    assert more.run_id == few.run_id
    kept = more.rounds.merge(before[["chain", "round", "image", "captioner_seed"]], on=["chain", "round", "image"])
    assert len(kept) == len(before) < len(more.rounds)
