"""Which located box is read, what it is called when there is none, and that the crop decides the reading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import looking
import playing
from driftloop.core.config import Option
from driftloop.core.records import Box, SubjectRule
from driftloop.locators.overlap import distinct, shared
from driftloop.stages.measure import cut, look, subject_of

SIZE = (100, 100)
SMALL, MIDDLE, LARGE = Box("face", 0, 0, 10, 10), Box("face", 45, 45, 60, 60), Box("face", 60, 0, 100, 40)
PERSON = Box("person", 0, 0, 100, 100)


def rule(**options: Any) -> SubjectRule:
    return SubjectRule("face", ("face",), **options)


@pytest.mark.parametrize(
    ("boxes", "options", "expected"),
    [
        ([SMALL, LARGE, MIDDLE], {}, LARGE),
        ([SMALL, LARGE, MIDDLE], {"choose": "centre"}, MIDDLE),
        ([SMALL, LARGE, MIDDLE], {"choose": "only"}, "several"),
        ([LARGE], {"choose": "only"}, LARGE),
        ([SMALL, Box("face", 90, 90, 100, 100)], {}, "several"),
        ([SMALL, Box("face", 90, 90, 100, 100), LARGE], {}, LARGE),
        ([SMALL, Box("face", 90, 90, 100, 100)], {"choose": "centre"}, "several"),
        ([], {}, "no_face"),
        ([PERSON], {}, "no_face"),
        ([PERSON, SMALL], {}, SMALL),
        ([SMALL], {"min_size": 10}, SMALL),
        ([SMALL], {"min_size": 10.1}, "low_confidence"),
        ([SMALL, LARGE], {"choose": "only", "min_size": 20}, LARGE),
        ([Box("face", 0, 0, 90, 90, score=0.4)], {"threshold": 0.5}, "low_confidence"),
        ([Box("face", 0, 0, 90, 90, score=0.4), SMALL], {"threshold": 0.5}, SMALL),
        ([Box("face", 0, 0, 90, 90, score=0.5)], {"threshold": 0.5}, Box("face", 0, 0, 90, 90, score=0.5)),
    ],
)
def test_the_subject_is_the_one_that_the_rule_names(boxes: list[Box], options: dict[str, Any], expected: Box | str) -> None:
    assert subject_of(boxes, rule(**options), SIZE) == expected
    assert subject_of(boxes[::-1], rule(**options), SIZE) == expected


def test_a_person_that_is_missing_is_no_person() -> None:
    assert subject_of([SMALL], SubjectRule("person", ("person",)), SIZE) == "no_person"


def numbered() -> Image.Image:
    """Every pixel says where it is: red its column, green its row."""
    rows, columns = np.mgrid[:20, :30].astype(np.uint8)
    return Image.fromarray(np.dstack([columns, rows, rows * 0]))


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((5, 6, 15, 16), 0.0, (5, 6, 14, 15)),
        ((5, 6, 15, 16), 0.2, (3, 4, 16, 17)),
        ((0, 0, 10, 10), 0.5, (0, 0, 14, 14)),
        ((20, 10, 30, 20), 0.5, (15, 5, 29, 19)),
        ((4.4, 5.6, 6.4, 7.6), 0.0, (4, 6, 5, 7)),
        ((29.9, 19.9, 30, 20), 0.0, (29, 19, 29, 19)),
        ((-5, -5, 400, 400), 0.0, (0, 0, 29, 19)),
    ],
)
def test_the_crop_is_the_box_with_its_margin_inside_the_picture(box: Any, margin: float, expected: tuple[int, ...]) -> None:
    pixels = np.asarray(cut(numbered(), Box("face", *box), margin))
    assert (*pixels[0, 0, :2], *pixels[-1, -1, :2]) == expected


def test_only_what_is_sought_is_counted() -> None:
    boxes = [["face", 0, 0, 0.1, 0.1, 0.9], ["face", 0.5, 0.5, 0.9, 0.9, 0.2], ["person", 0, 0, 1, 1, 0.9]]
    image = Image.new("RGB", (50, 40))
    (faces,) = look([image], looking.Window(boxes=boxes, threshold=0.5))
    assert (faces.n_faces, faces.n_persons, faces.status) == (1, None, "ok")
    both = looking.Window(boxes=boxes, subject="person", sought=("face", "person"), threshold=0.1)
    (counted,) = look([image], both)
    assert (counted.n_faces, counted.n_persons) == (2, 1)
    assert counted.crop is not None
    assert counted.crop.size == image.size
    (none,) = look([image], looking.Window(boxes=[]))
    assert (none.n_faces, none.n_persons, none.status, none.crop) == (0, None, "no_face", None)


def test_one_thing_found_twice_is_one() -> None:
    sure, again = Box("face", 0, 0, 10, 10, score=0.9), Box("face", 1, 0, 11, 10, score=0.8)
    beside, person = Box("face", 9, 0, 19, 10, score=0.7), Box("person", 0, 0, 10, 10, score=0.95)
    assert shared(sure, again) == pytest.approx(90 / 110)
    assert shared(sure, beside) == pytest.approx(10 / 190)
    assert shared(sure, Box("face", 50, 50, 60, 60)) == 0
    assert distinct([again, beside, person, sure], 0.5) == [person, sure, beside]
    assert distinct([again, beside, sure], 0.01) == [sure]
    assert distinct([again, sure], 1.0) == [sure, again]


def measured(asked: Any, locator: dict[str, Any]) -> Any:
    options = {"locator": Option("window", {"_target_": "looking.Window", **locator})}
    return playing.played(replace(asked, classifiers=[Option("colour", {"_target_": "looking.Colour"})], **options))


def test_the_crop_decides_the_reading_in_every_round(ask: Any) -> None:
    """ToyGenerator paints a dark stripe into a corner: who looks there reads another picture than who looks at the rest."""
    stripe = measured(ask(), {"boxes": [["face", 0, 0, 0.4, 0.1, 1.0]]})
    again = measured(ask(), {"boxes": [["face", 0.6, 0.5, 1, 1, 1.0], ["face", 0, 0, 0.2, 0.1, 1.0]]})
    folders = sorted(again.readings["instrument"].unique())
    assert stripe.run_id == again.run_id
    assert len(folders) == 2  # the locator is part of the instrument: nothing of the first is overwritten
    both = again.readings.pivot_table(index=["chain", "round"], columns="instrument", values="label", aggfunc="first")
    for chain, number in both.index:
        image = again.image(again.rounds.query("chain == @chain and round == @number").iloc[0])
        pixels = np.asarray(image)
        expected = {"female" if part.mean() > 128 else "male" for part in (pixels[:2, :6], pixels[8:, 10:])}
        assert set(both.loc[(chain, number)]) == expected
    assert (both[folders[0]] != both[folders[1]]).any()
    assert set(again.readings["round"]) == {0, 1, 2}
    assert set(again.readings.query("instrument == @folders[0]")["n_faces"]) | set(
        again.readings.query("instrument == @folders[1]")["n_faces"]
    ) == {1, 2}
    assert again.readings["n_persons"].isna().all()


def test_who_is_not_found_is_a_row_with_a_status_and_counted(ask: Any) -> None:
    run = measured(ask("stages=[play,measure,analyse]"), {"boxes": []})
    assert set(run.readings["status"]) == {"no_face"}
    assert run.readings["label"].isna().all()
    coverage = run.table("coverage")
    assert (coverage["coverage"] == 0).all()
    assert (coverage["n_no_face"] == coverage["n_expected"]).all()
    assert (coverage["share_at_least"] == 0).all()
    assert (coverage["share_at_most"] == 1).all()
