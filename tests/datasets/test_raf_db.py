"""RAF-DB as copies really are: every layout, every quirk, and what is said when something is missing or wrong."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from driftloop.core.records import Dataset, Seed
from driftloop.datasets.raf_db import EMOTIONS, PEOPLE, SPLIT_COUNTS, RafDb, check_composition, published_composition
from driftloop.datasets.tree import DataError
from driftloop.phantom.export import ORIGINAL, PERSON

Copy = Callable[[str], Path]
NO_PEOPLE = "no gender, ethnicity and age"


def list_file(root: Path) -> Path:
    return next(root.rglob("list_patition_label.txt"))


def manual(root: Path, name: str = "train_00001") -> Path:
    return next(root.rglob(f"{name}_manu_attri.txt"))


def box(root: Path) -> Path:
    return next(root.rglob("train_00001_boundingbox.txt"))


def opened(seed: Seed) -> Image.Image:
    assert seed.picture is not None
    return seed.picture()


def said(seeds: Sequence[Seed]) -> list[tuple[object, ...]]:
    """Everything of the seeds but how their pictures are reached."""
    return [(s.seed_id, s.concept, dict(s.labels), s.split, s.source.rsplit("/", 1)[-1]) for s in seeds]


def zip_of(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return file


def expected(faces: Sequence[Seed]) -> dict[str, Seed]:
    """The exported seeds by the id that the loader gives them: every fifth is a test image."""
    train = [face for index, face in enumerate(faces) if index % 5 != 4]
    test = [face for index, face in enumerate(faces) if index % 5 == 4]
    ids = [*(f"raf-train-{n:05d}" for n in range(1, 17)), *(f"raf-test-{n:04d}" for n in range(1, 5))]
    return dict(zip(ids, [*train, *test], strict=True))


@pytest.mark.parametrize("layout", ["basic", "basic_nested", "zips"])
def test_published_layouts_give_the_same_seeds(raf_trees: Path, faces: Sequence[Seed], layout: str) -> None:
    seeds = {seed.seed_id: seed for seed in RafDb(raf_trees / layout).load()}
    truth = expected(faces)
    assert seeds.keys() == truth.keys()
    for seed_id, seed in seeds.items():
        assert dict(seed.labels) == dict(truth[seed_id].labels)
        assert (seed.dataset, seed.concept_kind, seed.concept) == ("raf_db", "emotion", truth[seed_id].concept)
        assert seed.split == seed_id.split("-")[1]
        assert not Path(seed.source).is_absolute()


def test_the_repack_carries_emotions_only_and_says_so(raf_trees: Path, faces: Sequence[Seed]) -> None:
    with pytest.warns(UserWarning, match=f"{NO_PEOPLE} for 20 of 20 images"):
        seeds = RafDb(raf_trees / "repack").load()
    truth = expected(faces)
    assert {seed.seed_id: seed.concept for seed in seeds} == {i: face.concept for i, face in truth.items()}
    assert all(seed.labels.keys() == {"emotion"} for seed in seeds)


@pytest.mark.parametrize("annotations", ["basic", "zips"])
def test_the_repack_joins_people_by_number(raf_trees: Path, annotations: str) -> None:
    joined = RafDb(raf_trees / "repack", annotations=raf_trees / annotations)
    assert said(joined.load()) == said(RafDb(raf_trees / "basic").load())


def test_the_repack_without_tables_is_labelled_by_its_folders(raf: Copy, raf_trees: Path) -> None:
    root = raf("repack")
    for table in root.glob("*_labels.csv"):
        table.unlink()
    seeds = RafDb(root, annotations=raf_trees / "basic").load()
    assert said(seeds) == said(RafDb(raf_trees / "basic").load())


def test_a_repack_whose_folders_disagree_with_its_tables_is_refused(raf: Copy) -> None:
    root = raf("repack")
    table = root / "test_labels.csv"
    table.write_text(table.read_text().replace("aligned.jpg,5", "aligned.jpg,6"))
    with pytest.raises(DataError, match=r"is sadness by its folder .*, anger by test_labels.csv line 2"):
        RafDb(root).load()


def test_an_image_in_two_emotion_folders_is_refused(raf: Copy) -> None:
    root = raf("repack")
    for table in root.glob("*_labels.csv"):
        table.unlink()
    image = next((root / "DATASET" / "train" / "1").iterdir())
    shutil.copy(image, root / "DATASET" / "train" / "2" / image.name)
    with pytest.raises(DataError, match=r"is fear by its folder .*, surprise by DATASET/train/1"):
        RafDb(root).load()


def test_pictures_open_and_travel_to_other_processes(raf_trees: Path) -> None:
    for layout, images, size in (("zips", "aligned", (100, 100)), ("basic", "original", (240, 180))):
        seed = pickle.loads(pickle.dumps(RafDb(raf_trees / layout, images=images).load()[0]))  # noqa: S301 (our own)
        assert seed.picture is not None
        assert (seed.picture().mode, seed.picture().size) == ("RGB", size)


def test_it_is_a_dataset(raf_trees: Path) -> None:
    dataset: Dataset = RafDb(raf_trees / "basic")
    assert dataset.concept_kind == "emotion"
    assert dataset.load() == dataset.load()


@pytest.mark.parametrize(("split", "count"), [("all", 20), ("train", 16), ("test", 4)])
def test_split(raf_trees: Path, split: str, count: int) -> None:
    seeds = RafDb(raf_trees / "zips", split=split).load()
    assert len(seeds) == count
    assert split == "all" or {seed.split for seed in seeds} == {split}


def test_unsure_faces_can_be_dropped_and_are_counted(raf_trees: Path) -> None:
    kept = RafDb(raf_trees / "basic").load()
    sure = RafDb(raf_trees / "basic", unsure="drop")
    assert said(sure.load()) == said([seed for seed in kept if seed.labels["gender"] != "unsure"])
    assert sure.notes() == [
        f"RAF-DB: {len(sure.load())} seeds of aligned images",
        f"RAF-DB: unsure=drop left out {len(kept) - len(sure.load())} of {len(kept)} images of unsure gender",
    ]


# Original images and face boxes


@pytest.mark.parametrize("layout", ["basic", "zips"])
def test_a_face_is_cut_out_of_the_original_with_a_margin(raf_trees: Path, layout: str) -> None:
    whole = opened(RafDb(raf_trees / layout, images="original").load()[0])
    assert whole.size == ORIGINAL
    left, top, right, bottom = PERSON
    bare = opened(RafDb(raf_trees / layout, images="original", crop="face", margin=0).load()[0])
    assert bare.tobytes() == whole.crop(PERSON).tobytes()
    wider = opened(RafDb(raf_trees / layout, images="original", crop="face", margin=0.125).load()[0])
    assert (right - left, bottom - top) == (128, 128)
    assert wider.tobytes() == whole.crop((left - 16, top - 16, right + 16, bottom + 16)).tobytes()


def test_a_margin_ends_at_the_edge_of_the_photograph(raf_trees: Path) -> None:
    assert opened(RafDb(raf_trees / "basic", images="original", crop="face", margin=9.0).load()[0]).size == ORIGINAL


def test_face_boxes_may_lie_with_the_annotations(raf: Copy, raf_trees: Path) -> None:
    root = raf("basic")
    shutil.rmtree(root / "basic/Annotation")
    faces = RafDb(root, images="original", crop="face", annotations=raf_trees / "zips")
    assert said(faces.load()) == said(RafDb(raf_trees / "basic", images="original").load())


def test_what_is_cut_out_is_in_the_fingerprint(raf: Copy) -> None:
    root = raf("basic")
    options: list[dict[str, Any]] = [{}, {"crop": "face"}]
    prints = [RafDb(root, images="original", **option).fingerprint() for option in options]
    box(root).write_text("70 20 198 147")
    prints += [RafDb(root, images="original", **option).fingerprint() for option in options]
    assert prints[0] == prints[2]
    assert len(set(prints)) == 3


def test_a_face_without_a_box(raf: Copy) -> None:
    root = raf("basic")
    box(root).unlink()
    with pytest.raises(DataError, match=r"labels without a face box \(1: raf-train-00001\); missing=skip"):
        RafDb(root, images="original", crop="face").load()
    with pytest.warns(UserWarning, match="left out labels without a face box"):
        assert len(RafDb(root, images="original", crop="face", missing="skip").load()) == 19


@pytest.mark.parametrize(
    ("content", "message"),
    [("1 2 3", "expected left, top"), ("a b c d", "expected left"), ("9 1 5 8", "is no box"), ("1 2 nan 4", "is no box")],
)
def test_bad_boxes_are_named(raf: Copy, content: str, message: str) -> None:
    root = raf("basic")
    box(root).write_text(content)
    with pytest.raises(DataError, match=f"train_00001_boundingbox.txt: .*{message}"):
        RafDb(root, images="original", crop="face").load()


def test_a_box_outside_its_photograph_is_told_when_the_picture_is_opened(raf: Copy) -> None:
    root = raf("basic")
    box(root).write_text("900 900 950 950")
    with pytest.raises(DataError, match=r"lies outside the picture of 240×180 pixels"):
        opened(RafDb(root, images="original", crop="face", split="train").load()[0])


def test_faces_are_not_cut_out_of_aligned_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="crop=face cuts faces out of images=original"):
        RafDb(tmp_path, crop="face")
    with pytest.raises(ValueError, match="margin must be a share"):
        RafDb(tmp_path, images="original", crop="face", margin=-0.1)


# Spellings


def test_the_other_spelling_of_the_list_file(raf: Copy, raf_trees: Path) -> None:
    root = raf("basic")
    list_file(root).rename(list_file(root).with_name("list_partition_label.txt"))
    assert said(RafDb(root).load()) == said(RafDb(raf_trees / "basic").load())


@pytest.mark.parametrize(("old", "new"), [(".jpg", "_aligned.jpg"), (" ", "\t"), ("\n", "\r\n"), ("\n", "\n\n")])
def test_spellings_inside_the_list_file(raf: Copy, raf_trees: Path, old: str, new: str) -> None:
    root = raf("basic")
    list_file(root).write_bytes(b"\xef\xbb\xbf" + list_file(root).read_text().replace(old, new).encode())
    assert RafDb(root).fingerprint() == RafDb(raf_trees / "basic").fingerprint()


def test_aligned_images_without_the_suffix(raf: Copy) -> None:
    root = raf("basic")
    before = [(seed.seed_id, dict(seed.labels)) for seed in RafDb(root).load()]
    for image in (root / "basic/Image/aligned").iterdir():
        image.rename(image.with_name(image.name.replace("_aligned", "")))
    seeds = RafDb(root).load()
    assert [(seed.seed_id, dict(seed.labels)) for seed in seeds] == before
    assert seeds[0].picture is not None
    assert seeds[0].picture().size == (100, 100)


@pytest.mark.parametrize("separator", [" ", "\t", ",", "\n", "\r\n", " \t ", ", "])
def test_manual_annotations_with_other_separators(raf: Copy, separator: str) -> None:
    root = raf("basic")
    before = said(RafDb(root).load())
    file = manual(root)
    file.write_bytes(separator.join(file.read_text().split()).encode() + b"\n\n")
    assert said(RafDb(root).load()) == before


@pytest.mark.parametrize("kept", [[], [" 1 \n", "2\n", "0"]])
def test_only_the_last_three_fields_count(raf: Copy, kept: list[str]) -> None:
    root = raf("basic")
    manual(root).write_text("".join(["12.5 7\n"] * 5 + (kept or ["1\n2\n0\n"])))
    labels = RafDb(root, split="train").load()[0].labels
    assert (labels["gender"], labels["ethnicity"], labels["age"]) == ("female", "asian", "0-3")


def test_demographics_of_some_images_missing(raf: Copy) -> None:
    root = raf("basic")
    manual(root).unlink()
    with pytest.warns(UserWarning, match=rf"{NO_PEOPLE} for 1 of 20 images.*raf-train-00001"):
        seeds = {seed.seed_id: seed for seed in RafDb(root).load()}
    assert seeds["raf-train-00001"].labels.keys() == {"emotion"}
    assert seeds["raf-train-00002"].labels.keys() == {"emotion", "gender", "ethnicity", "age"}


def test_the_compound_set_beside_the_basic_one_is_not_read(raf: Copy) -> None:
    root = raf("basic")
    before = said(RafDb(root).load())
    compound = Path(shutil.copytree(root / "basic", root / "compound"))
    list_file(compound).write_text("train_00001.jpg 11\n")
    assert said(RafDb(root).load()) == before


def test_zips_beside_their_unpacked_copies(raf: Copy, raf_trees: Path) -> None:
    root = raf("zips")
    shutil.copytree(raf_trees / "basic" / "basic", root / "basic", dirs_exist_ok=True)
    assert said(RafDb(root).load()) == said(RafDb(raf_trees / "basic").load())
    (root / "basic/Image/aligned/train_00001_aligned.jpg").write_bytes(b"another")
    with pytest.raises(DataError, match="different files of one image"):
        RafDb(root).load()


def test_two_copies_of_one_label_file_are_one_and_two_label_files_are_refused(raf: Copy) -> None:
    root = raf("basic")
    before = said(RafDb(root).load())
    copy = Path(shutil.copy(list_file(root), root / "list_patition_label.txt"))
    assert said(RafDb(root).load()) == before
    copy.write_text("train_00001.jpg 1\n")
    with pytest.raises(DataError, match="several label files"):
        RafDb(root).load()


def test_basic_and_repack_under_one_root_are_refused(raf_trees: Path) -> None:
    with pytest.raises(DataError, match="several label files"):
        RafDb(raf_trees).load()


# What is missing or wrong


def test_a_missing_root_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set at"):
        RafDb(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no data set at"):
        RafDb(tmp_path, annotations=tmp_path / "nowhere")


@pytest.mark.parametrize("option", ["images", "crop", "split", "unsure", "missing"])
def test_an_unknown_option_lists_the_allowed_ones(tmp_path: Path, option: str) -> None:
    options: dict[str, Any] = {option: "orginal"}
    with pytest.raises(ValueError, match=rf"{option} must be one of .*; got 'orginal'"):
        RafDb(tmp_path, **options)


def test_something_else_is_not_taken_for_raf_db(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"looked for EmoLabel/list_patition_label.txt.*Found 1: cat.jpg"):
        RafDb(tmp_path).load()


def test_a_label_without_an_image(raf: Copy) -> None:
    root = raf("basic")
    (root / "basic/Image/aligned/train_00003_aligned.jpg").unlink()
    with pytest.raises(DataError, match=r"labels without an image \(1: raf-train-00003\); missing=skip"):
        RafDb(root).load()
    with pytest.warns(UserWarning, match="left out labels without an image"):
        assert len(RafDb(root, missing="skip").load()) == 19


def test_an_image_without_a_label(raf: Copy) -> None:
    root = raf("basic")
    image = root / "basic/Image/aligned/test_0001_aligned.jpg"
    shutil.copy(image, image.with_name("test_0099_aligned.jpg"))
    with pytest.raises(DataError, match=r"images without a label \(1: raf-test-0099\)"):
        RafDb(root).load()
    with pytest.warns(UserWarning, match="left out images without a label"):
        assert len(RafDb(root, missing="skip").load()) == 20


def test_the_other_kind_of_images(raf: Copy) -> None:
    root = raf("basic")
    shutil.rmtree(root / "basic/Image/original")
    with pytest.raises(DataError, match=r"no original images .*it has 20 aligned"):
        RafDb(root, images="original").load()
    shutil.rmtree(root / "basic/Image")
    with pytest.raises(DataError, match=r"no aligned images .*none of the other kind"):
        RafDb(root).load()


def test_a_split_that_is_not_there(raf: Copy) -> None:
    root = raf("repack")
    shutil.rmtree(root / "DATASET" / "test")
    (root / "test_labels.csv").unlink()
    with pytest.raises(DataError, match=r"no seeds.*split in test"):
        RafDb(root, split="test").load()


def test_an_empty_list_file(raf: Copy) -> None:
    root = raf("basic")
    shutil.rmtree(root / "basic/Image")
    list_file(root).write_text("\n")
    with pytest.raises(DataError, match="no seeds"):
        RafDb(root).load()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00001.jpg 3", r"raf-train-00001 is labelled twice: .*line 1 and .*line 2"),
        ("train_00099.jpg 8", r"line 2: label '8' is unknown; known are 1 surprise, .*7 neutral"),
        ("train_00099.jpg 0", "line 2: label '0' is unknown"),
        ("train_00099.jpg happy", "line 2: label 'happy' is unknown"),
        ("train_00099.jpg", "line 2: expected an image name and a label"),
        ("../../etc/passwd 1", r"line 2: '../../etc/passwd' is no image name"),
        ("/train_00099.jpg 1", "is no image name"),
        ("train_00099.exe 1", "is no image name"),
    ],
)
def test_bad_lines_of_the_list_file_are_named(raf: Copy, line: str, message: str) -> None:
    root = raf("basic")
    first, rest = list_file(root).read_text().split("\n", 1)
    list_file(root).write_text(f"{first}\n{line}\n{rest}")
    with pytest.raises(DataError, match=message):
        RafDb(root).load()


def test_a_list_file_that_is_no_text(raf: Copy) -> None:
    root = raf("basic")
    list_file(root).write_bytes(b"\xff\xfe\x00train")
    with pytest.raises(DataError, match="not UTF-8"):
        RafDb(root).load()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,emotion\ntest_0001_aligned.jpg,1\n", "no column 'label'; it has image, emotion"),
        ("image,label\ntest_0001_aligned.jpg,9\n", "line 2: label '9' is unknown"),
        ("image,label\ntest_0001_aligned.jpg,\n", "line 2: column 'label' is empty"),
        ("image,label\n../../x.jpg,1\n", "line 2: .* is no image name"),
        ("", "is empty"),
    ],
)
def test_bad_tables_of_the_repack_are_named(raf: Copy, table: str, message: str) -> None:
    root = raf("repack")
    (root / "test_labels.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        RafDb(root).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3\n0\n0\n", "gender '3' is unknown; known are 0 male, 1 female, 2 unsure"),
        ("0\n3\n0\n", "ethnicity '3' is unknown"),
        ("0\n0\n5\n", r"age '5' is unknown; known are .*4 70\+"),
        ("0\n0\n", "expected landmarks, then gender, ethnicity and age"),
        ("", "expected landmarks"),
        ("1 2\n3 4\n5 6\n7 8.5\n9 10\n", "gender '8.5' is unknown"),
    ],
)
def test_bad_manual_annotations_are_named(raf: Copy, content: str, message: str) -> None:
    root = raf("basic")
    manual(root).write_text(content)
    with pytest.raises(DataError, match=rf"train_00001_manu_attri.txt: {message}"):
        RafDb(root).load()


def test_a_truncated_image_is_named_when_it_is_opened(raf: Copy) -> None:
    root = raf("basic")
    image = root / "basic/Image/aligned/train_00001_aligned.jpg"
    image.write_bytes(image.read_bytes()[:600])
    seed = RafDb(root, split="train").load()[0]
    assert seed.picture is not None
    with pytest.raises(DataError, match=r"cannot read the picture basic/Image/aligned/train_00001_aligned.jpg"):
        seed.picture()


# Fingerprint


def test_the_fingerprint_does_not_depend_on_where_or_how_the_copy_is_packed(raf: Copy, raf_trees: Path) -> None:
    print_of_basic = RafDb(raf_trees / "basic").fingerprint()
    assert len(print_of_basic) == 64
    assert RafDb(raf("basic")).fingerprint() == print_of_basic
    assert RafDb(zip_of(raf_trees / "basic", raf("repack") / "raf.zip")).fingerprint() == print_of_basic
    for layout in ("basic_nested", "zips"):
        assert RafDb(raf_trees / layout).fingerprint() == print_of_basic


def test_the_fingerprint_depends_on_the_content(raf: Copy, raf_trees: Path) -> None:
    before = RafDb(raf_trees / "basic").fingerprint()
    options: list[dict[str, Any]] = [{"images": "original"}, {"split": "train"}, {"unsure": "drop"}]
    prints = {RafDb(raf_trees / "basic", **option).fingerprint() for option in options}
    root = raf("basic")
    manual(root).write_text("1 0 0")
    prints.add(RafDb(root).fingerprint())
    list_file(root).write_text(list_file(root).read_text().replace("train_00002.jpg 2", "train_00002.jpg 3"))
    prints.add(RafDb(root).fingerprint())
    with (root / "basic/Image/aligned/train_00001_aligned.jpg").open("ab") as image:
        image.write(b"\0")
    prints.add(RafDb(root).fingerprint())
    assert len(prints | {before}) == 7


def test_pictures_are_not_opened_for_the_fingerprint(raf: Copy) -> None:
    root = raf("basic")
    for image in root.rglob("*.jpg"):
        image.write_bytes(b"not an image")
    assert RafDb(root).fingerprint()


# The whole set


def whole_set(file: Path) -> Path:
    """15,339 labels, annotations and (empty) images with the published counts."""
    counts = published_composition()
    numbers = {"train": 0, "test": 0}
    with zipfile.ZipFile(file, "w") as archive:
        rows = []
        for code, emotion in enumerate(EMOTIONS, 1):
            columns = [
                chain.from_iterable([repeat(n, counts[emotion, name, category]) for n, category in enumerate(names)])
                for name, names in PEOPLE.items()
            ]
            splits = chain.from_iterable(repeat(split, counts[emotion, "split", split]) for split in SPLIT_COUNTS)
            for split, gender, ethnicity, age in zip(splits, *columns, strict=True):
                numbers[split] += 1
                name = f"{split}_{numbers[split]}"
                rows.append(f"{name}.jpg {code}\n")
                people = f"{gender}\n{ethnicity}\n{age}\n"
                archive.writestr(zipfile.ZipInfo(f"manual/{name}_manu_attri.txt"), people)
                archive.writestr(zipfile.ZipInfo(f"aligned/{name}_aligned.jpg"), b"")
        archive.writestr("list_patition_label.txt", "".join(rows))
    return file


@pytest.fixture(scope="module")
def whole_raf(tmp_path_factory: pytest.TempPathFactory) -> RafDb:
    return RafDb(whole_set(tmp_path_factory.mktemp("whole") / "raf.zip"))


@pytest.fixture(scope="module")
def whole(whole_raf: RafDb) -> list[Seed]:
    return whole_raf.load()  # warnings are errors in tests


def test_the_whole_set_reproduces_the_published_composition_and_says_so(whole: list[Seed], whole_raf: RafDb) -> None:
    assert len(whole) == 15_339
    assert "RAF-DB: the composition of its 15339 images is the published one" in whole_raf.notes()
    assert (whole[0].seed_id, whole[-1].seed_id) == ("raf-test-0001", "raf-train-12271")


def test_a_whole_set_of_another_composition_is_told_with_the_difference(whole: list[Seed]) -> None:
    at = next(n for n, seed in enumerate(whole) if (seed.concept, seed.labels["gender"]) == ("surprise", "male"))
    other = replace(whole[at], labels={**whole[at].labels, "gender": "female"})
    expected = r"of the 91 published counts .* differ, 2: surprise gender female 787 \(published 786\), .* male 661"
    with pytest.warns(UserWarning, match=expected):
        check_composition([*whole[:at], other, *whole[at + 1 :]])


def test_attributes_nobody_labelled_are_not_compared(whole: list[Seed]) -> None:
    check_composition([replace(seed, labels={"emotion": seed.concept}) for seed in whole])


def test_the_reference_is_that_of_the_paper() -> None:
    counts = published_composition()
    assert sum(count for (_, attribute, _), count in counts.items() if attribute == "split") == 15_339
    for emotion in EMOTIONS:
        totals = {
            attribute: sum(count for (e, a, _), count in counts.items() if (e, a) == (emotion, attribute))
            for attribute in ("split", *PEOPLE)
        }
        assert len(set(totals.values())) == 1, totals
