"""The image classification adapter against the library called directly, and its map of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image

from driftloop.classifiers.image_classification import TransformersClassifier
from driftloop.core.weights import ModelError
from driftloop.locators.whole_image import WholeImage

AGES = {"0-2": "child", "3-9": "child", "10-19": "teenager", "more than 19": "adult"}
GENDERS = {"Female": "female", "Male": "male"}  # the checkpoint's own order is the reverse


def classifier(vit: Path, resnet: Path, **options: Any) -> TransformersClassifier:
    models = {"age": {"model": str(vit), "labels": AGES}, "gender": {"model": str(resnet), "labels": GENDERS}}
    return TransformersClassifier(models=models, device="cpu", **options)


def directly(folder: Path, image: Image) -> dict[str, float]:
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    logits = model(**AutoImageProcessor.from_pretrained(folder)(images=image, return_tensors="pt")).logits[0]
    return {model.config.id2label[index]: float(value) for index, value in enumerate(logits.detach().softmax(-1))}


def test_equals_the_library_called_directly(vit: Path, resnet: Path, pictures: list[Image]) -> None:
    readings = classifier(vit, resnet).read(pictures[:4])
    for image, (age, gender) in zip(pictures, readings, strict=False):
        ages, genders = directly(vit, image), directly(resnet, image)
        summed = (ages["0-2"] + ages["3-9"], ages["10-19"], ages["more than 19"])
        assert age.probabilities == pytest.approx(summed, abs=1e-5)
        assert gender.probabilities == pytest.approx((genders["Female"], genders["Male"]), abs=1e-5)
        assert age.label == ("child", "teenager", "adult")[int(np.argmax(summed))]
        assert age.probability == max(age.probabilities)
        assert (age.attribute, gender.attribute, age.status) == ("age", "gender", "ok")


def test_categories_follow_the_map_and_readings_differ(vit: Path, resnet: Path, pictures: list[Image]) -> None:
    instrument = classifier(vit, resnet)
    assert instrument.categories == {"age": ("child", "teenager", "adult"), "gender": ("female", "male")}
    ages = [row[0] for row in instrument.read(pictures)]
    assert len({reading.label for reading in ages}) > 1
    assert all(sum(reading.probabilities or ()) == pytest.approx(1) for reading in ages)


def test_batch_size_and_order_change_no_bit(vit: Path, resnet: Path, pictures: list[Image], untouched_global_rng: None) -> None:
    instrument = classifier(vit, resnet)
    whole = instrument.read(pictures)
    assert instrument.read(pictures[::-1]) == whole[::-1]
    assert [row for image in pictures for row in instrument.read([image])] == whole
    assert instrument.read(pictures * 2 + pictures[:5]) == whole * 2 + whole[:5]
    assert instrument.read([]) == []


def test_below_the_threshold_there_is_no_label(vit: Path, resnet: Path, pictures: list[Image]) -> None:
    sure = classifier(vit, resnet).read(pictures)
    strict = classifier(vit, resnet, threshold={"age": 0.6}).read(pictures)
    assert {row[0].status for row in strict} == {"ok", "low_confidence"}
    for before, after in zip(sure, strict, strict=True):
        low = before[0].probability < 0.6
        assert (after[0].label is None, after[0].status == "low_confidence") == (low, low)
        assert after[0].probabilities == before[0].probabilities
        assert after[1] == before[1]


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        ({"Female": "female", "male": "male"}, r'checkpoint has "Male", "Female"; missing in the map: "Male"; .*"male"'),
        ({"Female": "female"}, 'missing in the map: "Male"'),
        ({**GENDERS, "Unsure": "unsure"}, 'not in the checkpoint: "Unsure"'),
    ],
)
def test_a_map_that_does_not_fit_is_refused(resnet: Path, labels: dict[str, str], word: str) -> None:
    with pytest.raises(ModelError, match=word):
        TransformersClassifier(models={"gender": {"model": str(resnet), "labels": labels}}, device="cpu").load()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"models": {}}, "at least one"),
        ({"models": {"age": {"model": "a/b"}}}, "labels"),
        ({"models": {"age": {"model": "a/b", "labels": AGES, "label": 1}}}, "models.age"),
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"threshold": {"gnder": 0.5}}, "gnder"),
        ({"dtype": "int8"}, "float32, bfloat16, float16"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_loads(wrong: dict[str, Any], word: str) -> None:
    settings = {"models": {"age": {"model": "a/b", "labels": AGES}}, **wrong}
    with pytest.raises(ValueError, match=word):
        TransformersClassifier(**settings)


def test_provenance_and_unload(vit: Path, resnet: Path, pictures: list[Image]) -> None:
    instrument = classifier(vit, resnet)
    before = instrument.read(pictures[:2])
    assert instrument.provenance()["models"]["gender"]["network"] == "ResNetForImageClassification"
    instrument.unload()
    assert instrument.read(pictures[:2]) == before


def test_the_whole_image_is_one_box(pictures: list[Image]) -> None:
    boxes = WholeImage().locate([pictures[0], pictures[1].resize((20, 10))])
    assert [[(box.kind, box.right, box.bottom, box.area) for box in found] for found in boxes] == [
        [("whole", 32, 32, 1024)],
        [("whole", 20, 10, 200)],
    ]
