"""A change of resolution alone looks like drift to an instrument that reads detail; the matched re-reading removes it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import looking
import playing
from driftloop.classifiers.matched import Matched, recompressed, scaled
from driftloop.core.config import Option
from driftloop.core.errors import ConfigError
from driftloop.core.records import MatchingClassifier

LIMIT = (looking.sharpness(looking.scene(0, 32)) + looking.sharpness(looking.scene(1, 32))) / 2
PLAIN = {"_target_": "looking.Sharpness", "limit": LIMIT}


def matched(limit: float = LIMIT, **options: Any) -> Option:
    inside = {"plain": {**PLAIN, "limit": limit}}
    return Option("matched", {"_target_": "driftloop.classifiers.matched.Matched", "classifier": inside, **options})


def world(asked: Any, seeds: int = 32, drawn: int = 128, quality: int | None = None, limit: float = LIMIT) -> Any:
    """Scenes of `seeds` pixels (and JPEG quality), drawn again as they are but `drawn` pixels wide."""
    return replace(
        asked,
        dataset=Option("scenes", {"_target_": "looking.Scenes", "size": seeds, "quality": quality}),
        generator=Option("draw", {"_target_": "looking.DrawScene", "size": drawn}),
        captioner=Option("tell", {"_target_": "looking.TellScene"}),
        classifiers=[Option("plain", {**PLAIN, "limit": limit}), matched(limit, jpeg_quality=quality or 90)],
    )


def old(run: Any, classifier: str) -> list[float]:
    """The share read as old, per round."""
    rows = run.readings.query("classifier == @classifier")
    return list(rows.assign(old=rows["label"] == "old").groupby("round")["old"].mean())


def test_resolution_alone_fakes_a_drift_and_matching_removes_it(ask: Any) -> None:
    run = playing.played(world(ask("stages=[play,measure,analyse]")))
    assert set(run.rounds["caption"]) == {f"scene {number}" for number in range(20)}
    assert old(run, "plain") == [0.5, 0.0, 0.0]
    assert old(run, "matched") == [0.5, 0.5, 0.5]
    per_chain = run.readings.query("classifier == 'matched'").groupby("chain")["label"].nunique()
    assert (per_chain == 1).all()
    last = run.table("drift").query("concept == 'all' and category == 'old' and method == 'raw' and round == 2")
    rows = last.set_index("classifier")
    assert rows.loc["plain", "shift_high"] < 0
    assert rows.loc["matched", "shift"] == 0


def test_a_codec_alone_fakes_a_drift_and_matching_removes_it(ask: Any) -> None:
    """The smooth scenes of a data set of hard JPEGs have lost what fine detail the clean pictures of later rounds have."""
    run = playing.played(world(ask(), seeds=32, drawn=32, quality=10, limit=3.0))
    assert old(run, "plain") == [0.5, 1.0, 1.0]
    assert old(run, "matched") == [0.5, 0.5, 0.5]


def test_each_way_of_matching_has_a_folder_of_its_own(ask: Any) -> None:
    ways: list[dict[str, Any]] = [{}, {"jpeg_quality": 80}, {"jpeg_quality": None}, {"shorter_side": 20}, {"batch_size": 3}]
    folders = [world(ask()).instruments()[0][0]]
    for way in ways:
        asked = replace(world(ask()), classifiers=[matched(**way)])
        folders.append(asked.instruments()[0][0])
    assert len(set(folders)) == len(ways)
    assert folders[1] == folders[-1]  # the batch size is a means


def test_a_seed_without_a_picture_has_no_size_to_match() -> None:
    wrapped = Matched(classifier={"plain": looking.Sharpness(limit=1)})
    with pytest.raises(ConfigError, match="give classifier"):
        wrapped.prepare([looking.scene(1, 64)], [(0, 0)])
    stated = Matched(classifier={"plain": looking.Sharpness(limit=1)}, shorter_side=16)
    assert stated.prepare([looking.scene(1, 64)], [(0, 0)])[0].size == (16, 16)


def test_pictures_keep_their_proportions_and_take_the_seeds_shorter_side() -> None:
    wrapped = Matched(classifier={"plain": looking.Sharpness(limit=1)}, jpeg_quality=None)
    images = [Image.new("RGB", size) for size in ((128, 128), (200, 100), (90, 60))]
    assert [image.size for image in wrapped.prepare(images, [(30, 40), (50, 60), (90, 60)])] == [(30, 30), (100, 50), (90, 60)]
    assert scaled(images[2], 60) is images[2]
    assert isinstance(wrapped, MatchingClassifier)
    assert not isinstance(looking.Sharpness(limit=1), MatchingClassifier)


def test_recompression_is_what_a_jpeg_file_keeps() -> None:
    image = looking.scene(4, 64)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70, subsampling=2)
    assert np.array_equal(np.asarray(recompressed(image, 70)), np.asarray(Image.open(file)))
    assert looking.sharpness(recompressed(image, 5)) != looking.sharpness(image)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"classifier": {}}, "one instrument"),
        ({"classifier": {"a": looking.Colour(), "b": looking.Colour()}}, "got a, b"),
        ({"shorter_side": "largest"}, '"seed" or a number'),
        ({"shorter_side": 0}, "shorter_side"),
        ({"jpeg_quality": 0}, "between 1 and 100"),
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Matched(**{"classifier": {"plain": looking.Colour()}, **wrong})


def test_another_instrument_can_be_put_inside_on_the_command_line() -> None:
    asked = playing.composed("classifier=[phantom_cnn,matched]", "classifier@classifier.matched.classifier=phantom_cnn")
    plain, inside = (option.build() for option in asked.classifiers)
    assert inside.categories == plain.categories
    folders = [folder for folder, _, _ in asked.instruments()]
    assert len(set(folders)) == len(folders)
