"""Memory that runs out halves the batch for good; what comes out is the same, and the rows say how many shared a call."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

import doubles
from comparing import answers
from driftloop.core.errors import DriftloopError


def test_later_batches_stay_small_and_rows_tell(play: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plenty = play("replicates=6")
    asked = counted(monkeypatch)
    little = play(
        "replicates=6", "generator.most=10", "generator.torch_memory=true", "wave=18", f"results_dir={tmp_path / 'l'}"
    )
    assert answers(little) == answers(plenty)
    assert asked[:2] == [18, 9]  # the first batch is the last that is too large
    assert max(asked[1:]) == 9
    made = little.rounds[little.rounds["round"] > 0]
    assert (made["batch_size"] == 9).all()
    assert (plenty.rounds.loc[plenty.rounds["round"] > 0, "batch_size"] == 36).all()


@pytest.mark.parametrize("which", ["doubles.ToyClassifier.read", "driftloop.locators.whole_image.WholeImage.locate"])
def test_instruments_stay_at_what_they_can(play: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, which: str) -> None:
    words = ("dataset.n=20", "classifier.toy.batch_size=16")
    plenty = play(*words)
    asked = limited(monkeypatch, which, 5)
    little = play(*words, f"results_dir={tmp_path / 'l'}")
    assert answers(little) == answers(plenty)
    assert asked[:2] == [16, 8]  # nothing else is too large, in any of the batches that follow
    assert asked[2:] == [4] * 15


def limited(monkeypatch: pytest.MonkeyPatch, which: str, most: int) -> list[int]:
    """The sizes of the calls of a method, which from now on has no memory for more than `most` pictures."""
    asked: list[int] = []
    owner, _, name = which.rpartition(".")
    before = getattr(resolve_name(owner), name)

    def method(self: Any, images: Any) -> Any:
        asked.append(len(images))
        if len(images) > most:
            raise doubles.out_of_memory(of_torch=True)
        return before(self, images)

    monkeypatch.setattr(which, method)
    return asked


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the calls of generators, from now on."""
    asked: list[int] = []
    before = doubles.ToyGenerator.generate

    def generate(self: Any, captions: Any, seeds: Any) -> Any:
        asked.append(len(captions))
        return before(self, captions, seeds)

    monkeypatch.setattr("doubles.ToyGenerator.generate", generate)
    return asked


def test_too_little_for_one_is_a_failure_with_its_reason(play: Any) -> None:
    run = play("generator.most=0", "on_failure.max_share=1", "stages=[play]", "rounds=1")
    failed = run.rounds[run.rounds["round"] == 1]
    assert (failed["status"] == "failed").all()
    assert failed["error"].str.startswith("MemoryError").all()


def test_too_little_to_load_a_model_stops_with_a_sentence(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise doubles.out_of_memory(of_torch=True)

    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", no_room)
    with pytest.raises(DriftloopError, match=r'not enough memory to load the model "builtin:captioner".*placement=swap'):
        play("captioner=phantom_blip", "stages=[play]")
