"""The pixel hash is of the picture, not of the file; seed names never become paths."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from driftloop.core.packs import encode, pixel_hash

PICTURES = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.binary(min_size=3 * size[0] * size[1], max_size=3 * size[0] * size[1]).map(
        lambda data: Image.frombytes("RGB", size, data)
    )
)


@given(picture=PICTURES)
def test_every_lossless_format_has_the_same_hash(picture: Image.Image) -> None:
    hashes = {pixel_hash(picture)}
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        buffer = BytesIO()
        picture.save(buffer, kind)
        hashes.add(pixel_hash(Image.open(buffer)))
    assert len(hashes) == 1


@given(picture=PICTURES)
def test_what_is_kept_comes_back_to_the_bit(picture: Image.Image) -> None:
    back = Image.open(BytesIO(encode(picture)))
    assert (back.mode, back.size, back.tobytes()) == (picture.mode, picture.size, picture.tobytes())


@given(picture=PICTURES, where=st.integers(0), how=st.integers(1, 255))
def test_one_other_pixel_is_another_hash(picture: Image.Image, where: int, how: int) -> None:
    data = bytearray(picture.tobytes())
    data[where % len(data)] ^= how
    assert pixel_hash(Image.frombytes("RGB", picture.size, bytes(data))) != pixel_hash(picture)


def test_the_shape_counts() -> None:
    assert pixel_hash(Image.new("RGB", (2, 8))) != pixel_hash(Image.new("RGB", (8, 2)))
    assert pixel_hash(Image.new("L", (6, 2))) != pixel_hash(Image.new("RGB", (2, 2)))


ODD = ["../../etc", "a b", "ünï — 雪", "a:b", "-rf", "'quoted'", "%2e%2e", "con", "x" * 200, "new\\nline", "*", "s.png"]


def test_odd_seed_names_never_leave_the_run_folder(play: Any, tmp_path: Path) -> None:
    names = ",".join(f'"{name}"' for name in ODD)
    run = play(f"dataset.ids=[{names}]", "stages=[play,measure]")
    outside = {path.name for path in tmp_path.iterdir()} - {"results"}
    assert outside == set()
    assert [path.name for path in (tmp_path / "results").iterdir()] == [run.run_id]
    assert set(run.seeds["seed_id"]) == set(run.rounds["seed_id"]) == set(run.readings["seed_id"])
    assert len(run.seeds) == len(ODD)
    assert run.seeds["image"].str.fullmatch(r"round-000/[\w-]+\.zip/[0-9a-f]{64}\.png").all()
    for path in run.store.folder.rglob("*"):
        assert path.resolve().is_relative_to(run.store.folder)
        assert not any(len(name) > 3 and name in str(path) for name in ODD)


@pytest.mark.parametrize("names", [["a", "a/0"], ["a/0", "a"]])
def test_a_slash_in_a_seed_name_makes_no_two_chains_one(play: Any, names: list[str]) -> None:
    run = play(f"dataset.ids=[{','.join(names)}]", "replicates=2", "stages=[play]", "rounds=1")
    assert run.rounds["chain"].nunique() == 4
