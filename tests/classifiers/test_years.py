"""A checkpoint with one output is an age in years."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from driftloop.classifiers.image_classification import TransformersClassifier
from driftloop.core.weights import ModelError

BINS = {"0-39": [0, 40], "40-49": [40, 50], "50+": [50, 120]}


def classifier(folder: Path | str, **entry: Any) -> TransformersClassifier:
    return TransformersClassifier(models={"age": {"model": str(folder), **(entry or {"bins": BINS})}}, device="cpu")


def test_years_are_the_output_and_the_label_its_bin(in_years: Path, pictures: list[Image.Image]) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(in_years).eval()
    processor = AutoImageProcessor.from_pretrained(in_years)
    instrument = classifier(in_years)
    assert instrument.categories == {"age": ("0-39", "40-49", "50+")}
    readings = [row[0] for row in instrument.read(pictures)]
    for image, reading in zip(pictures, readings, strict=True):
        with torch.no_grad():
            years = float(network(**processor(images=image, return_tensors="pt")).logits[0, 0])
        assert reading.years == pytest.approx(years, abs=1e-3)
        assert reading.label == next(name for name, (start, end) in BINS.items() if start <= years < end)
        assert (reading.probability, reading.probabilities, reading.status) == (None, None, "ok")
    assert len({reading.label for reading in readings}) > 1
    assert instrument.read([]) == []


def test_an_age_outside_the_bins_is_a_failed_reading(in_years: Path, pictures: list[Image.Image]) -> None:
    readings = [row[0] for row in classifier(in_years, bins={"45-46": [45, 46]}).read(pictures)]
    outside = [reading for reading in readings if reading.years is not None and not 45 <= reading.years < 46]
    assert outside
    assert {(reading.status, reading.label) for reading in outside} == {("failed", None)}


@pytest.mark.parametrize("when", ["check", "load"])
def test_bins_and_labels_do_not_stand_in_for_each_other(in_years: Path, when: str) -> None:
    with pytest.raises(ModelError, match=r'read in years, which takes one output; "builtin:age" has "0-3", "4-19"'):
        getattr(classifier("builtin:age"), when)()
    with pytest.raises(ModelError, match=r'do not fit .* checkpoint has "LABEL_0"'):
        getattr(classifier(in_years, labels={"young": "young"}), when)()


@pytest.mark.parametrize("entry", [{"bins": BINS, "labels": {"a": "b"}}, {"bins": {}}, {"labels": {}}, {"bin": BINS}])
def test_one_of_labels_and_bins_is_given(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"models.age must be \{model, labels or bins"):
        classifier("a/b", **entry)
