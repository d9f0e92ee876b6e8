"""The uniface adapters with a stand-in of the package's interface: order of labels, colour order, what is refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from driftloop.classifiers.uniface import AGES, RACES, UnifaceFairFace
from driftloop.core.weights import ModelError
from driftloop.locators.uniface import UnifaceRetinaFace
from driftloop.stages.measure import look


@dataclass
class Result:
    """As the package's: gender 0 = Female, 1 = Male."""

    gender: int
    age_group: str
    race: str


@dataclass
class Face:
    bbox: np.ndarray[Any, Any]
    confidence: float


class FairFace:
    """Reads numbers off the pixels of a BGR picture: blue is gender, green the age group, red the race."""

    def predict(self, image: np.ndarray[Any, Any], bbox: object = None) -> Result:
        assert bbox is None
        blue, green, red = image[0, 0]
        return Result(int(blue), AGES[green] if green < len(AGES) else "ancient", RACES[red])


class RetinaFace:
    def __init__(self, confidence_threshold: float = 0.5) -> None:
        self.threshold = confidence_threshold

    def detect(self, image: np.ndarray[Any, Any]) -> list[Face]:
        found = [Face(np.array([1.0, 2, 5, 8]), 0.9), Face(np.array([0.0, 0, 9, 9]), 0.4), Face(np.array([0.0, 0, 9, 9]), 0.1)]
        assert tuple(image[0, 0]) == (30, 20, 10), "the package takes BGR"
        return [face for face in found if face.confidence > self.threshold]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package, detection = ModuleType("uniface"), ModuleType("uniface.detection")
    package.FairFace, detection.RetinaFace = FairFace, RetinaFace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uniface", package)
    monkeypatch.setitem(sys.modules, "uniface.detection", detection)


def face(gender: int, age: int, race: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (race, age, gender))


def test_zero_is_female_and_every_label_is_declared(installed: None) -> None:
    instrument = UnifaceFairFace()
    assert {name: len(values) for name, values in instrument.categories.items()} == {"gender": 2, "age": 9, "race": 7}
    genders = instrument.read([face(0, 0, 0), face(1, 0, 0)])
    assert [row[0].label for row in genders] == ["female", "male"]
    shown = instrument.read([face(0, number, number % 7) for number in range(9)])
    assert [row[1].label for row in shown] == list(instrument.categories["age"])
    assert {row[2].label for row in shown} == set(instrument.categories["race"])
    assert {reading.status for row in shown for reading in row} == {"ok"}


def test_attributes_can_be_chosen_and_unknown_labels_are_not_taken(installed: None) -> None:
    only = UnifaceFairFace(attributes=["age"])
    assert [[reading.attribute for reading in row] for row in only.read([face(0, 3, 0)])] == [["age"]]
    with pytest.raises(ValueError, match="ancient"):
        only.read([face(0, 9, 0)])
    with pytest.raises(ValueError, match="gender, age, race, got mood"):
        UnifaceFairFace(attributes=["mood"])


def test_faces_have_boxes_scores_and_a_rule(installed: None) -> None:
    image = Image.new("RGB", (12, 12), (10, 20, 30))
    locator = UnifaceRetinaFace(threshold=0.5, doubt=0.3)
    (boxes,) = locator.locate([image])
    assert [(box.kind, box.left, box.top, box.right, box.bottom, round(box.score, 3)) for box in boxes] == [
        ("face", 1, 2, 5, 8, 0.9),
        ("face", 0, 0, 9, 9, 0.4),
    ]
    (sight,) = look([image], locator)
    assert (sight.n_faces, sight.n_persons, sight.crop.size if sight.crop else None) == (1, None, (4, 6))
    (unsure,) = look([image], UnifaceRetinaFace(threshold=0.95, doubt=0.3))
    assert unsure.status == "low_confidence"


@pytest.mark.parametrize("adapter", [UnifaceFairFace, UnifaceRetinaFace])
def test_without_the_package_the_extra_is_named(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "uniface", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'"driftloop\[uniface\]"'):
        adapter()
