"""Small data sets in the formats of the real ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from driftloop.core.records import Seed
from driftloop.phantom.export import AGES, EMOTIONS, ETHNICITIES, GENDERS, raf_db

N_FACES = 20


def synthetic_seed(number: int) -> Seed:
    """A plain picture whose colour and labels follow its number."""
    labels = {
        "gender": GENDERS[number % 3],
        "ethnicity": ETHNICITIES[number // 2 % 3],
        "age": AGES[number % 5],
        "emotion": EMOTIONS[number % 7],
    }
    picture = partial(Image.new, "RGB", (64, 64), (number * 12, 80, 255 - number * 12))
    return Seed(f"s{number:04d}", "synthetic", "emotion", labels["emotion"], labels, picture)


@pytest.fixture(scope="session")
def faces() -> list[Seed]:
    return [synthetic_seed(number) for number in range(N_FACES)]


@pytest.fixture(scope="session")
def raf_trees(faces: Sequence[Seed], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds RAF-DB in every layout: <layout>/…"""
    folder = tmp_path_factory.mktemp("raf")
    for layout in ("basic", "basic_nested", "zips", "repack"):
        raf_db(faces, folder / layout, layout)
    return folder


@pytest.fixture
def raf(raf_trees: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one layout that the test may spoil."""

    def copy(layout: str) -> Path:
        return Path(shutil.copytree(raf_trees / layout, tmp_path / layout))

    return copy


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    buffer = BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
