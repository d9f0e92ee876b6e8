"""The detection adapters against the libraries' own post-processing, one picture at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from driftloop.core.records import Box
from driftloop.core.weights import ModelError
from driftloop.locators.prompted_detector import PromptedDetector
from driftloop.locators.transformers_detector import TransformersDetector

PHRASES = {"a photo of a human face": "face", "a photo of a person": "person"}
EVERYTHING: dict[str, Any] = {"threshold": 0.0, "doubt": 0.0, "overlap": 1.0, "device": "cpu"}
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


Found = list[tuple[str, float, list[float]]]


def directly(folder: Path, image: Image.Image) -> Found:
    """(label, score, corners) as the library gives them for one picture."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    model, processor = AutoModelForObjectDetection.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images=image, return_tensors="pt"))
    (found,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[image.size[::-1]])
    names = [model.config.id2label[number] for number in found["labels"].tolist()]
    return list(zip(names, found["scores"].tolist(), found["boxes"].tolist(), strict=True))


def prompted_directly(folder: Path, image: Image.Image, phrases: list[str]) -> Found:
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    model, processor = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(images=image, text=[phrases], return_tensors="pt"))
    (found,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.0, target_sizes=[image.size[::-1]], text_labels=[phrases]
    )
    return list(zip(found["text_labels"], found["scores"].tolist(), found["boxes"].tolist(), strict=True))


def expected(
    found: list[tuple[str, float, list[float]]], kinds: Mapping[str, str], image: Image.Image
) -> list[tuple[float, ...]]:
    """Sought boxes, cut at the picture's edges, surest first."""
    rows = []
    for name, score, (left, top, right, bottom) in found:
        if name in kinds:
            cut = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
            rows += [(score, *cut)] if cut[0] < cut[2] and cut[1] < cut[3] else []
    return sorted(rows, reverse=True)


def plain(boxes: list[Box]) -> list[tuple[float, ...]]:
    return sorted(((box.score, box.left, box.top, box.right, box.bottom) for box in boxes), reverse=True)


def check_same(boxes: list[Box], rows: list[tuple[float, ...]]) -> None:
    assert len(boxes) == len(rows)
    for mine, theirs in zip(plain(boxes), rows, strict=True):
        assert mine == pytest.approx(theirs, abs=2e-3)


@pytest.mark.parametrize("name", ["rt_detr", "yolos"])
def test_equals_the_library_called_directly(name: str, pictures: list[Image.Image], request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    names = {"person": "person", "dog": "face"}
    locator = TransformersDetector(model=str(folder), names=names, subject="person", **EVERYTHING)  # type: ignore[arg-type]
    located = locator.locate(pictures)
    assert sum(map(len, located)) > 5
    for image, boxes in zip(pictures, located, strict=True):
        check_same(boxes, expected(directly(folder, image), names, image))
    assert {box.kind for boxes in located for box in boxes} <= {"person", "face"}


def test_phrases_find_what_the_library_finds(owlv2: Path, pictures: list[Image.Image]) -> None:
    locator = PromptedDetector(model=str(owlv2), names=PHRASES, subject="face", **EVERYTHING)  # type: ignore[arg-type]
    for image, boxes in zip(pictures, locator.locate(pictures), strict=True):
        found = prompted_directly(owlv2, image, list(PHRASES))
        check_same(boxes, expected(found, PHRASES, image))
        faces = [row for row in found if PHRASES[row[0]] == "face"]
        assert sum(box.kind == "face" for box in boxes) == len(expected(faces, PHRASES, image))


def test_words_of_a_phrase_lead_to_its_kind(grounding_dino: Path, pictures: list[Image.Image]) -> None:
    names = {"a human face": "face", "the person": "person"}
    locator = PromptedDetector(model=str(grounding_dino), names=names, subject="face", **EVERYTHING)  # type: ignore[arg-type]
    assert [locator._kind(words) for words in ("a human face", "face", "person", "", "dog")] == [
        "face", "face", "person", None, None,
    ]  # fmt: skip
    for image, boxes in zip(pictures[:3], locator.locate(pictures[:3]), strict=True):
        found = prompted_directly(grounding_dino, image, list(names))
        kinds = {said: kind for said, _, _ in found if (kind := locator._kind(said))}
        assert found
        check_same(boxes, expected(found, kinds, image))


@pytest.mark.parametrize("name", ["rt_detr", "yolos", "owlv2"])
def test_neighbours_change_nothing(name: str, pictures: list[Image.Image], request: pytest.FixtureRequest) -> None:
    options = {"model": str(request.getfixturevalue(name)), **EVERYTHING}
    locator: Any = (
        PromptedDetector(names=PHRASES, subject="face", **options)  # type: ignore[arg-type]
        if name == "owlv2"
        else TransformersDetector(names={"person": "person"}, subject="person", **options)
    )
    whole = locator.locate(pictures)
    assert locator.locate(pictures[::-1]) == whole[::-1]
    assert [locator.locate([image])[0] for image in pictures] == whole
    assert locator.locate([]) == []


def test_doubtful_boxes_are_kept_apart_from_none(yolos: Path, pictures: list[Image.Image]) -> None:
    options = {**EVERYTHING, "threshold": 0.6, "doubt": 0.4}
    locator = TransformersDetector(model=str(yolos), names={"person": "person"}, subject="person", **options)
    scores = [box.score for boxes in locator.locate(pictures) for box in boxes]
    every = TransformersDetector(model=str(yolos), names={"person": "person"}, subject="person", **EVERYTHING)
    assert sorted(scores) == sorted(box.score for boxes in every.locate(pictures) for box in boxes if box.score > 0.4)
    assert locator.subject.threshold == 0.6


def test_a_label_that_the_checkpoint_does_not_know_is_refused(yolos: Path) -> None:
    with pytest.raises(ModelError, match="knows no man; its labels are bicycle, dog, person"):
        TransformersDetector(model=str(yolos), names={"man": "person"}, subject="person", device="cpu").load()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"subject": "face"}, "to the subject 'face'"),
        ({"names": {"person": "cat"}}, "person or face"),
        ({"doubt": 0.7}, "doubt must be between 0 and threshold"),
        ({"overlap": 2.0}, "overlap"),
        ({"choose": "loudest"}, "largest, centre or only"),
        ({"margin": -0.1}, "at least 0"),
        ({"pad_to": 0}, "pad_to"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_loads(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TransformersDetector(**{"model": "a/b", "names": {"person": "person"}, "subject": "person", **wrong})


def test_provenance_and_unload(owlv2: Path, pictures: list[Image.Image]) -> None:
    locator = PromptedDetector(model=str(owlv2), names=PHRASES, subject="face", **EVERYTHING)  # type: ignore[arg-type]
    before = locator.locate(pictures[:2])
    assert locator.provenance()["network"] == "Owlv2ForObjectDetection"
    locator.unload()
    assert locator.locate(pictures[:2]) == before
