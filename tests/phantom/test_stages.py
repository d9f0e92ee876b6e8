"""Stages of the training that keep what they made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from driftloop.phantom.training import cards
from driftloop.phantom.training.bank import COMBINATIONS, Bank
from driftloop.phantom.training.stages import REDRAWN, Workshop

ROWS = REDRAWN * len(COMBINATIONS)


def workshop(folder: Path) -> Workshop:
    made = Workshop(folder / "work", folder / "models")
    made.bank = Bank(np.zeros((ROWS, 1, 1, 3), np.uint8), np.zeros((ROWS, 1, 1), np.uint8), np.zeros((ROWS, 4), np.int64))
    return made


def test_pictures_of_earlier_weights_are_never_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator trained further in the same folder draws pictures of its own; the same one is not asked twice."""
    weights = tmp_path / "models/generator/text_encoder/model.safetensors"
    weights.parent.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    drawn: list[int] = []

    def draw(captions: list[str], **_: object) -> list[Image.Image]:
        drawn.append(len(captions))
        return [Image.new("RGB", (1, 1), (len(weights.read_bytes()),) * 3)] * ROWS

    monkeypatch.setattr(cards, "load_artist", lambda _: SimpleNamespace(draw=draw))
    for content, made in ((b"1", 1), (b"22", 2), (b"22", 2), (b"1", 2)):
        weights.write_bytes(content)
        images = workshop(tmp_path)._redrawn().images
        assert set(images.ravel().tolist()) == {len(content)}
        assert drawn == [ROWS] * made
