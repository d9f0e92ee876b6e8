"""Built-in seeds written as RAF-DB have its exact formats."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from driftloop.core.records import Seed
from driftloop.datasets.phantom import PhantomDataset
from driftloop.phantom import export
from driftloop.phantom.export import main, phase, raf_db


def test_names_and_formats_of_the_published_set(raf_trees: Path) -> None:
    basic = raf_trees / "basic" / "basic"
    assert sorted(path.name for path in basic.iterdir()) == ["Annotation", "EmoLabel", "Image"]
    lines = (basic / "EmoLabel/list_patition_label.txt").read_text().splitlines()
    assert lines[:2] == ["train_00001.jpg 1", "train_00002.jpg 2"]
    assert "test_0001.jpg 5" in lines
    for name, rows, fields in (("manual", 8, 2), ("auto", 37, 2), ("boundingbox", 1, 4)):
        file = next((basic / "Annotation" / name).iterdir())
        content = [line.split() for line in file.read_text().splitlines()]
        assert (len(content), len(content[0])) == (rows, fields)
    manual = (basic / "Annotation/manual/test_0001_manu_attri.txt").read_text().splitlines()
    assert all("\t" in line for line in manual[:5])
    assert manual[5:] == ["1", "2", "4"]


def test_pictures_are_jpegs_of_the_published_sizes(raf_trees: Path) -> None:
    images = raf_trees / "basic/basic/Image"
    with Image.open(images / "aligned/train_00001_aligned.jpg") as aligned:
        assert (aligned.format, aligned.size) == ("JPEG", (100, 100))
    with Image.open(images / "original/train_00001.jpg") as original:
        assert original.format == "JPEG"
        assert original.size > (100, 100)


def test_zips_are_nested_where_the_published_ones_are(raf_trees: Path) -> None:
    basic = raf_trees / "zips" / "basic"
    names = sorted(path.relative_to(basic).as_posix() for path in basic.rglob("*.*"))
    assert names == [
        "Annotation/auto.zip",
        "Annotation/boundingbox.zip",
        "Annotation/manual.zip",
        "EmoLabel/list_patition_label.txt",
        "Image/aligned.zip",
        "Image/original.zip",
    ]
    with zipfile.ZipFile(basic / "Image/aligned.zip") as archive:
        assert "aligned/train_00001_aligned.jpg" in archive.namelist()
        with Image.open(BytesIO(archive.read("aligned/test_0001_aligned.jpg"))) as image:
            assert image.size == (100, 100)


def test_the_same_seeds_are_the_same_bytes(faces: Sequence[Seed], tmp_path: Path) -> None:
    for name in ("one", "two"):
        raf_db(faces[:5], tmp_path / name, "zips")
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert files
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_a_seed_without_ethnicity_gets_one_and_other_gaps_are_errors(faces: Sequence[Seed], tmp_path: Path) -> None:
    labels = {key: value for key, value in faces[0].labels.items() if key != "ethnicity"}
    raf_db([replace(faces[0], labels=labels)], tmp_path / "ok")
    with pytest.raises(ValueError, match=r"age must be one of 0-3, .*got None"):
        raf_db([replace(faces[0], labels={"emotion": "fear", "gender": "male"})], tmp_path / "bad")
    with pytest.raises(ValueError, match="no picture"):
        raf_db([replace(faces[0], picture=None)], tmp_path / "worse")


def test_a_full_folder_and_an_unknown_layout_are_refused(faces: Sequence[Seed], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layout must be one of basic"):
        raf_db(faces, tmp_path, "tar")
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="not empty"):
        raf_db(faces, tmp_path)


def test_the_command(
    faces: list[Seed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "_phantom_seeds", lambda n, root_seed: faces[:n])
    main(["raf_db", str(tmp_path / "raf"), "--n", "6", "--layout", "repack"])
    assert "6 seeds" in capsys.readouterr().out
    assert len(list((tmp_path / "raf").rglob("*.jpg"))) == 6
    with pytest.raises(SystemExit):
        main(["raf_db", str(tmp_path / "raf")])
    assert "not empty" in capsys.readouterr().err


# The other formats


def test_both_files_of_phase_say_the_same_with_all_the_quirks(tmp_path: Path) -> None:
    people = PhantomDataset(n=30, concept_kind="emotion").load()
    phase(people, tmp_path / "set", annotations="both")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "annotators.csv", "phase_gcc_train_all_20221101.json", "phase_gcc_train_regions_20221101.json",
        "phase_gcc_val_all_20221101.json", "phase_gcc_val_regions_20221101.json", "phase_images",
    ]  # fmt: skip
    regions = json.loads((tmp_path / "set/phase_gcc_train_regions_20221101.json").read_text())
    every = json.loads((tmp_path / "set/phase_gcc_train_all_20221101.json").read_text())
    assert regions.keys() == every.keys()
    assert all((tmp_path / f"set/phase_images/train/{image}.png").exists() for image in regions)
    persons = [person for entry in regions.values() for name, person in entry.items() if name != "caption"]
    said = {text for person in persons for text in person.get("annotations", {}).values()}
    assert {"disagreement", "unsure", "music", "east_asian"} <= said
    assert any("region" not in person for person in persons)
    assert any("annotations" not in person for person in persons)
    workers = [answer["worker"] for answer in every["000000000"]["person2"]["annotations"]]
    assert workers == ["w0", "w1", "w2"]


def test_boxes_of_both_kinds_are_the_same_boxes(tmp_path: Path) -> None:
    people = PhantomDataset(n=3, concept_kind="emotion").load()
    found = {}
    for box in ("xywh", "xyxy"):
        phase(people, tmp_path / box, box=box)
        found[box] = json.loads((tmp_path / box / "phase_gcc_train_regions_20221101.json").read_text())
    left, top, width, height = found["xywh"]["000000001"]["person2"]["region"]
    assert found["xyxy"]["000000001"]["person2"]["region"] == [left, top, left + width, top + height]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"box": "cxcywh"}, "box must be one of xywh, xyxy"), ({"annotations": "some"}, "annotations must be one of regions")],
)
def test_unknown_options_of_phase_are_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phase([], tmp_path / "set", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["raf_db", "--layout", "zips"], "basic/Image/aligned.zip"),
        (["phase", "--box", "xyxy", "--annotations", "all", "--zips"], "phase_images.zip"),
        (["fairface"], "val/5.jpg"),
        (["utkface"], "UTKFace/53__0_20170116184028385.jpg.chip.jpg"),
        (["telephone_game", "--rounds", "1"], "images-first/gen-3.csv"),
    ],
)
def test_the_command_writes_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], file: str
) -> None:
    main([words[0], str(tmp_path / "set"), "--n", "6", *words[1:]])
    assert f"try dataset={words[0]} dataset.root={tmp_path / 'set'}" in capsys.readouterr().out
    assert (tmp_path / "set" / file).exists()
