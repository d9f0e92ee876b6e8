"""PHASE as copies really are: both kinds of annotation files, both ways of writing boxes, and every string of the labels."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from driftloop.core.records import Dataset, Seed
from driftloop.datasets.boxes import Fits, area, convention, corners, fits
from driftloop.datasets.phantom import PhantomDataset
from driftloop.datasets.phase import KNOWN, Phase, majority
from driftloop.datasets.tree import DataError
from driftloop.phantom.export import phase
from driftloop.phantom.render import read_stamp

N = 40
SURE = {"age": "adult", "gender": "male", "skintone": "darker", "ethnicity": "black", "emotion": "anger", "activity": "work"}
Tree = Callable[..., Path]


@pytest.fixture(scope="session")
def people() -> list[Seed]:
    return PhantomDataset(n=N, concept_kind="emotion").load()


@pytest.fixture(scope="session")
def copies(people: Sequence[Seed], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds PHASE with boxes of both kinds: <box>/…"""
    folder = tmp_path_factory.mktemp("phase")
    phase(people, folder / "xywh", annotations="both")
    phase(people, folder / "xyxy", box="xyxy", annotations="both", zips=True)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes a tree of given entries; images of 100×80 pixels for every id."""

    def write(entries: Mapping[str, Any], kind: str = "regions", split: str = "train", folder: str = "phase_images") -> Path:
        images = tmp_path / "set" / folder / split
        images.mkdir(parents=True, exist_ok=True)
        for name in entries:
            Image.new("RGB", (100, 80), "teal").save(images / f"{name.removesuffix('.png')}.png")
        (tmp_path / "set" / f"phase_gcc_{split}_{kind}_20221101.json").write_text(json.dumps(entries))
        return tmp_path / "set"

    return write


def person(region: Any = (10, 10, 20, 30), **labels: Any) -> dict[str, Any]:
    return {"region": region, "annotations": SURE | labels}


def one(root: Path, **options: Any) -> Seed:
    (seed,) = Phase(root, **{"box": "xywh", **options}).load()
    return seed


def said(seeds: Sequence[Seed]) -> list[tuple[object, ...]]:
    return [(s.seed_id, s.concept, dict(s.labels), s.split) for s in seeds]


def opened(seed: Seed) -> Image.Image:
    assert seed.picture is not None
    return seed.picture()


# What is there


@pytest.mark.parametrize("labels", ["regions", "all"])
@pytest.mark.parametrize("box", ["xywh", "xyxy"])
def test_the_subject_of_every_image_is_the_exported_seed(copies: Path, people: Sequence[Seed], box: str, labels: str) -> None:
    found: Dataset = Phase(copies / box, labels=labels)
    seeds = found.load()
    assert len(seeds) == N
    for seed in seeds:
        truth = people[int(seed.seed_id.rsplit("-", 1)[1])]
        if "-000000007" not in seed.seed_id:  # its box is sloppy on purpose
            stamp = read_stamp(opened(seed))
            assert stamp is not None
            assert stamp.attributes == truth.labels
        assert seed.labels["gender"] == truth.labels["gender"]
        assert seed.labels.keys() == KNOWN.keys()
        assert (seed.split == "val") == (int(seed.seed_id[-2:]) % 5 == 4)
        assert seed.concept == seed.labels["emotion"]
        assert not Path(seed.source).is_absolute()


def test_majority_votes_taken_here_are_the_published_ones(copies: Path) -> None:
    assert said(Phase(copies / "xywh", labels="all").load()) == said(Phase(copies / "xywh").load())


def test_how_the_boxes_are_written_is_found_out_and_noted(copies: Path) -> None:
    for box in ("xywh", "xyxy"):
        found = Phase(copies / box)
        assert said(found.load()) == said(Phase(copies / box, box=box).load())
        (told,) = [note for note in found.notes() if "regions are" in note]
        assert told.startswith(f"PHASE: regions are {box}: of ")


def test_activities_are_the_other_concept(copies: Path) -> None:
    seeds = Phase(copies / "xywh", concept_kind="activity").load()
    assert {seed.concept for seed in seeds} <= set(KNOWN["activity"])
    assert all(seed.concept == seed.labels["activity"] and seed.concept_kind == "activity" for seed in seeds)


def test_whole_photographs(copies: Path) -> None:
    assert opened(Phase(copies / "xywh", crop="whole").load()[0]).size == (320, 240)


def test_pictures_travel_to_other_processes(copies: Path) -> None:
    seed = Phase(copies / "xyxy").load()[0]
    assert opened(pickle.loads(pickle.dumps(seed))).size == opened(seed).size  # noqa: S301 (our own)


@pytest.mark.parametrize(("split", "count"), [("train", 32), ("val", 8)])
def test_split(copies: Path, split: str, count: int) -> None:
    seeds = Phase(copies / "xywh", split=split).load()
    assert len(seeds) == count
    assert {seed.split for seed in seeds} == {split}


def test_annotations_beside_the_images(copies: Path, tmp_path: Path) -> None:
    shutil.copytree(copies / "xywh" / "phase_images", tmp_path / "images" / "phase_images")
    apart = Phase(tmp_path / "images", annotations=copies / "xyxy", box="xyxy")
    assert said(apart.load()) == said(Phase(copies / "xyxy").load())


def test_an_archive_of_everything(copies: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "phase.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((copies / "xywh").rglob("*.*")):
            archive.write(path, path.relative_to(copies / "xywh"))
    assert Phase(tmp_path / "phase.zip").fingerprint() == Phase(copies / "xywh").fingerprint()


# The subject


def test_the_largest_person_by_area_not_by_where_it_stands(tree: Tree) -> None:
    """Multiplying all four numbers, as public code does, would choose the one at the far corner."""
    far = person((80, 60, 15, 15), gender="female")
    near = person((1, 1, 30, 40))
    assert one(tree({"a": {"caption": "x", "person1": far, "person2": near}})).labels["gender"] == "male"


def test_two_largest_persons_are_several(tree: Tree) -> None:
    root = tree({"a": {"person1": person(), "person2": person((50, 10, 30, 20))}, "b": {"person1": person()}})
    found = Phase(root, box="xywh")
    assert [seed.seed_id for seed in found.load()] == ["phase-train-b"]
    assert "PHASE: left out 1 images: several persons of the same size" in found.notes()


def test_images_of_one_person_only(tree: Tree) -> None:
    """A second person counts even when nobody drew its box."""
    two = {"person1": person(), "person2": {"annotations": SURE}}
    found = Phase(tree({"a": two, "b": {"caption": "x", "person1": person()}}), box="xywh", subject="only")
    assert [seed.seed_id for seed in found.load()] == ["phase-train-b"]
    assert "PHASE: left out 1 images: not exactly one person (subject=only)" in found.notes()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"person1": {"annotations": SURE}}, "no person with a region"),
        ({"person1": person([1, 2, 3])}, "no person with a region"),
        ({"person1": person([5, 5, None, 3])}, "no person with a region"),
        ({"person1": person([5, 5, -4, 3])}, "no person with a region"),
        ({"caption": "nobody"}, "no person with a region"),
        ({"person1": {"region": [1, 1, 50, 50]}}, "the subject has no emotion label"),
        ({"person1": {"region": [1, 1, 50, 50], "annotations": []}}, "the subject has no emotion label"),
        ({"person1": person(emotion=None)}, "the subject has no emotion label"),
    ],
)
def test_images_without_a_usable_subject_are_left_out_and_counted(tree: Tree, entry: dict[str, Any], reason: str) -> None:
    found = Phase(tree({"a": entry, "b": {"person1": person()}}), box="xywh")
    assert [seed.seed_id for seed in found.load()] == ["phase-train-b"]
    assert f"PHASE: left out 1 images: {reason}" in found.notes()


def test_persons_without_region_or_annotations_are_counted(tree: Tree) -> None:
    entry = {"person1": person(), "person2": {"region": [1, 1, 2, 2]}, "person3": {"annotations": SURE}, "person4": {}}
    found = Phase(tree({"a": entry}), box="xywh")
    assert len(found.load()) == 1
    assert "PHASE: 4 persons, 2 without a region, 2 without annotations" in found.notes()


def test_an_attribute_nobody_answered_is_absent(tree: Tree) -> None:
    assert "skintone" not in one(tree({"a": {"person1": person(skintone=None)}})).labels


def test_a_box_beyond_the_picture_is_cut_and_one_outside_is_that_seeds_error(tree: Tree) -> None:
    root = tree({"a": {"person1": person((90, 70, 50, 50))}, "b": {"person1": person((200, 10, 5, 5))}})
    a, b = Phase(root, box="xywh").load()
    assert opened(a).size == (10, 10)
    with pytest.raises(DataError, match=r"lies outside the picture of 100×80 pixels"):
        opened(b)


# Votes and strings


@pytest.mark.parametrize(
    ("answers", "voted"),
    [
        (["male"], "male"),
        (["male", "female"], "disagreement"),
        (["male", "female", "male"], "male"),
        (["male", "female", "unsure"], "disagreement"),
        (["unsure", "unsure", "male"], "unsure"),
    ],
)
def test_majority(answers: list[str], voted: str) -> None:
    assert majority(answers) == voted
    assert majority(answers[::-1]) == voted


def test_workers_that_skipped_an_attribute_do_not_vote(tree: Tree) -> None:
    votes = [{"worker": "w1", "gender": "female", "emotion": "fear"}, {"worker": "w2", "emotion": "fear"}, {"worker": "w3"}]
    seed = one(tree({"a": {"person1": {"region": [1, 1, 9, 9], "annotations": votes}}}, kind="all"), labels="all")
    assert dict(seed.labels) == {"gender": "female", "emotion": "fear"}


@pytest.mark.parametrize(
    ("attribute", "string", "category"),
    [
        ("age", "children", "child"),
        ("age", "Young adult", "young"),
        ("activity", "music", "dance and music"),
        ("activity", "helping_and_caring", "helping and caring"),
        ("ethnicity", "east_asian", "east asian"),
        ("skintone", "3", "lighter"),
        ("skintone", "type_4", "darker"),
        ("gender", "disagreement", "disagreement"),
        ("skintone", "disagreement", "disagreement"),
    ],
)
def test_spellings_that_copies_have(tree: Tree, attribute: str, string: str, category: str) -> None:
    found = Phase(tree({"a": {"person1": person(**{attribute: string})}}), box="xywh")
    assert found.load()[0].labels[attribute] == category
    mapped = [note for note in found.notes() if note.startswith(f"PHASE: {attribute} strings mapped")]
    expected = [] if string == category else [f"PHASE: {attribute} strings mapped: {string!r} to {category!r} (1×)"]
    assert mapped == expected


def test_levels_of_skin_tone_are_grouped_before_the_vote(tree: Tree) -> None:
    """Three neighbouring levels are no disagreement about lighter or darker."""
    votes = [{"emotion": "fear", "skintone": level} for level in ("1", "2", "4")]
    root = tree({"a": {"person1": {"region": [1, 1, 9, 9], "annotations": votes}}}, kind="all")
    assert one(root, labels="all").labels["skintone"] == "lighter"


def test_unknown_strings_are_refused_all_at_once_with_the_known_ones(tree: Tree) -> None:
    root = tree({"a": {"person1": person(activity="cookery", emotion="joy")}, "b": {"person1": person(activity="cookery")}})
    expected = (
        r"unknown emotion 'joy' \(1×\); known are happiness, .*"
        r"Unknown activity 'cookery' \(2×\); known are helping and caring, .*dataset.names"
    )
    with pytest.raises(DataError, match=expected):
        Phase(root, box="xywh").load()


def test_the_config_may_map_unknown_strings(tree: Tree) -> None:
    root = tree({"a": {"person1": person(activity="Cookery", emotion="joy")}})
    seed = one(root, names={"activity": {"cookery": "household"}, "emotion": {"joy": "happiness"}})
    assert (seed.labels["activity"], seed.concept) == ("household", "happiness")


@pytest.mark.parametrize(
    ("names", "message"),
    [({"activty": {}}, "names must be one of gender"), ({"age": {"teen": "teenager"}}, "names.age must be one of baby")],
)
def test_a_mapping_to_nothing_is_refused(tmp_path: Path, names: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phase(tmp_path, names=names)


def test_unsure_and_disagreement_are_categories_unless_dropped(tree: Tree) -> None:
    doubtful = [{}, {"gender": "unsure"}, {"age": "disagreement"}, {"emotion": "disagreement"}, {"ethnicity": "unsure"}]
    root = tree({f"{n}": {"person1": person(**labels)} for n, labels in enumerate(doubtful)})
    kept = Phase(root, box="xywh").load()
    assert [kept[n].labels[name] for n, name in ((1, "gender"), (2, "age"))] == ["unsure", "disagreement"]
    assert kept[3].concept == "disagreement"
    sure = Phase(root, box="xywh", unsure="drop")
    assert [seed.seed_id for seed in sure.load()] == ["phase-train-0", "phase-train-4"]
    assert "PHASE: left out 3 images: unsure or disagreement about emotion, gender or age (unsure=drop)" in sure.notes()


# Files


def test_ids_with_the_ending_of_an_image(tree: Tree) -> None:
    assert one(tree({"007.png": {"person1": person()}})).seed_id == "phase-train-007"


def test_one_id_in_both_splits_is_two_images(tree: Tree) -> None:
    tree({"7": {"person1": person()}})
    root = tree({"7": {"person1": person(gender="female")}}, split="val")
    seeds = Phase(root, box="xywh").load()
    assert [(seed.seed_id, seed.labels["gender"]) for seed in seeds] == [("phase-train-7", "male"), ("phase-val-7", "female")]


def test_images_without_folders_of_their_split(tree: Tree) -> None:
    root = tree({"7": {"person1": person()}})
    (root / "phase_images/train/7.png").rename(root / "7.png")
    assert one(root).source == "7.png"
    tree({"7": {"person1": person()}}, split="val")
    with pytest.raises(DataError, match="annotated in train and val; put images into folders"):
        Phase(root, box="xywh").load()


def test_missing_images_and_missing_annotations(tree: Tree) -> None:
    root = tree({"a": {"person1": person()}, "b": {"person1": person()}})
    (root / "phase_images/train/b.png").rename(root / "phase_images/train/c.png")
    with pytest.raises(
        DataError, match=r"labels without an image \(1: phase-train-b\) and images without a label \(1: phase-train-c\)"
    ):
        Phase(root, box="xywh").load()
    with pytest.warns(UserWarning, match="left out labels without an image"):
        assert len(Phase(root, box="xywh", missing="skip").load()) == 1


def test_the_other_kind_of_file_is_pointed_at(tree: Tree) -> None:
    root = tree({"a": {"person1": person()}}, kind="all")
    with pytest.raises(DataError, match=r"looked for phase_gcc_train_regions_.*labels=all reads them"):
        Phase(root).load()
    with pytest.raises(DataError, match="no annotations"):
        Phase(root, split="val").load()


def test_two_files_of_one_kind(tree: Tree) -> None:
    root = tree({"a": {"person1": person()}})
    file = root / "phase_gcc_train_regions_20221101.json"
    copy = Path(shutil.copy(file, root / "phase_gcc_train_regions_copy.json"))
    assert one(root).seed_id == "phase-train-a"
    copy.write_text("{}")
    with pytest.raises(DataError, match=r"several annotation files of train \(2: "):
        Phase(root).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not readable json"),
        ("[1]", "expected an object of images by id, got a list"),
        ('{"a": 1}', "a: expected an object"),
        ('{"a": {"person1": 3}}', "person1 must be an object"),
        ('{"a": {"person1": {"annotations": "x"}}}', "annotations must be an object or a list"),
        ('{"../a": {"person1": {"region": [1,1,2,2], "annotations": {"emotion": "fear"}}}}', "cannot be a seed id"),
    ],
)
def test_files_that_are_something_else(tree: Tree, content: str, message: str) -> None:
    root = tree({"a": {}})
    (root / "phase_gcc_train_regions_20221101.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Phase(root, box="xywh").load()


@pytest.mark.parametrize("option", ["concept_kind", "labels", "subject", "crop", "box", "split", "unsure", "missing"])
def test_an_unknown_option_lists_the_allowed_ones(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be one of .*; got 'regoins'"):
        Phase(tmp_path, **{option: "regoins"})  # type: ignore[arg-type]


def test_everything_that_decides_a_seed_is_in_the_fingerprint(tree: Tree) -> None:
    entries = {"a": {"person1": person(), "person2": person((50, 10, 9, 9), gender="female")}}
    root = tree(entries)
    options: list[dict[str, Any]] = [{}, {"crop": "whole"}, {"concept_kind": "activity"}, {"box": "xyxy"}]
    prints = [Phase(root, **{"box": "xywh", **option}).fingerprint() for option in options]
    entries["a"]["person1"]["region"] = (10, 10, 20, 31)
    prints.append(Phase(tree(entries), box="xywh").fingerprint())
    assert len(set(prints)) == len(prints)


# How boxes are written


def boxes(counts: Mapping[str, int]) -> Fits:
    return Fits(**{"xywh": 0, "xyxy": 0, "either": 0, "neither": 0, **counts})


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"xywh": 40, "either": 60}, "xywh"),
        ({"xyxy": 500, "either": 480, "xywh": 20}, "xyxy"),
        ({"xyxy": 90, "neither": 10}, "xyxy"),
    ],
)
def test_most_boxes_decide(counts: dict[str, int], found: str) -> None:
    assert convention(boxes(counts)) == found


@pytest.mark.parametrize(
    "counts",
    [
        {"either": 1000},
        {"either": 1000, "xyxy": 1},  # one sloppy box must not decide
        {"either": 3, "xywh": 4},
        {"xywh": 50, "xyxy": 50},
        {"xywh": 90, "xyxy": 10},
        {"xywh": 80, "neither": 20},
        {"neither": 100},
        {},
    ],
)
def test_boxes_that_do_not_tell_are_an_error_that_asks(counts: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"cannot tell whether boxes are xywh or xyxy.*dataset.box=xywh or dataset.box=xyxy"):
        convention(boxes(counts))


def test_what_fits() -> None:
    picture = (100, 80)
    found = fits(
        [
            ((60, 50, 30, 20), picture),  # ends at 90, 70; read as corners it would end before it begins
            ((60, 50, 90, 70), picture),  # would end at 150, 120
            ((10, 10, 30, 30), picture),
            ((60, 50, 99, 40), picture),
            ((0, 0, 101, 81), picture),  # a pixel of rounding
            ((0.2, 0.3, 0.5, 0.6), picture),  # shares of the picture, not pixels
        ]
    )
    assert found == Fits(xywh=1, xyxy=1, either=2, neither=2)


def test_corners_and_area() -> None:
    assert corners((1, 2, 3, 4), "xywh") == (1, 2, 4, 6)
    assert corners((1, 2, 3, 4), "xyxy") == (1, 2, 3, 4)
    assert (area((1, 2, 3, 4), "xywh"), area((1, 2, 3, 4), "xyxy"), area((5, 5, 2, 2), "xyxy")) == (12, 4, 0)


def test_a_tree_whose_boxes_do_not_tell(tree: Tree) -> None:
    root = tree({"a": {"person1": person((10, 10, 30, 30))}})
    with pytest.raises(DataError, match=r"of 1 boxes 0 fit .* 1 either way"):
        Phase(root).load()


def test_sizes_are_read_where_the_picture_says_them_late(tree: Tree) -> None:
    """A colour profile may push the size of a JPEG beyond the first bytes; an unreadable picture is left to its seed."""
    root = tree({f"{n}": {"person1": person((60, 50, 30, 20))} for n in range(12)})
    for n in range(6):
        buffer = BytesIO()
        Image.new("RGB", (100, 80)).save(buffer, "JPEG", icc_profile=b"\0" * 9000)
        (root / f"phase_images/train/{n}.png").write_bytes(buffer.getvalue())
    (root / "phase_images/train/7.png").write_bytes(b"damaged")
    found = Phase(root)
    assert len(found.load()) == 12
    assert any("of 11 boxes 11 fit into their pictures only as xywh" in note for note in found.notes())
