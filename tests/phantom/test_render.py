"""Pictures are a function of person and seed, masks are a partition, stamps survive PNG and nothing lossy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from driftloop.phantom.figure import PARTS
from driftloop.phantom.render import SIZE, read_stamp, render, stamp
from driftloop.phantom.training.bank import COMBINATIONS, bank_person
from driftloop.phantom.world import Person

PERSON = Person("female", "70+", "anger", "cooking")


def reopened(image: Image.Image, kind: str, **options: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def test_same_seed_same_picture_other_seed_another() -> None:
    first, again, other = (np.asarray(render(PERSON, seed).image) for seed in (5, 5, 6))
    assert first.shape == (SIZE, SIZE, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("index", range(0, len(COMBINATIONS), 37))
def test_masks_are_disjoint_cover_and_hold_a_face(index: int) -> None:
    masks = render(bank_person(0, index), index).masks
    assert set(masks) == set(PARTS)
    assert np.array_equal(np.sum(list(masks.values()), 0), np.ones((SIZE, SIZE)))
    face = masks["face_skin"] | masks["eyes_brows"] | masks["mouth"]
    assert np.ptp(np.nonzero(face.any(1))[0]) >= 18
    assert masks["mouth"].sum() >= 6
    assert masks["eyes_brows"].sum() >= 20


def test_masks_lie_where_the_colours_are() -> None:
    rendering = render(Person("male", "20-39", "neutral", "football", background="mint", hair="black"), 3)
    pixels = np.asarray(rendering.image).astype(float)
    assert pixels[rendering.masks["background"]].mean() > 180
    assert pixels[rendering.masks["hair"]].mean() < 90


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("index", range(0, len(COMBINATIONS), 53))
def test_stamp_reads_back_after_png_and_hardly_changes_the_picture(index: int, generated: bool) -> None:
    person = bank_person(1, index)
    clean = render(person, index).image
    stamped = stamp(clean, person, generated=generated)
    found = read_stamp(reopened(stamped, "PNG"))
    assert found is not None
    assert found.attributes == person.attributes
    assert found.generated is generated
    assert np.abs(np.asarray(stamped).astype(int) - np.asarray(clean)).max() <= 1


def test_lossy_steps_kill_the_stamp() -> None:
    stamped = stamp(render(PERSON, 1).image, PERSON, generated=True)
    brighter = np.array(stamped)
    brighter[40, 40, 0] ^= 2
    lossy = {
        "jpeg": reopened(stamped, "JPEG", quality=100),
        "resized": stamped.resize((SIZE * 2, SIZE * 2)).resize((SIZE, SIZE)),
        "cropped": stamped.crop((0, 0, SIZE, SIZE - 1)),
        "narrow": stamped.crop((0, 0, 20, 20)),
        "one pixel": Image.fromarray(brighter),
        "unstamped": render(PERSON, 1).image,
    }
    assert {name for name, image in lossy.items() if read_stamp(image) is not None} == set()


def test_unknown_category_is_refused() -> None:
    with pytest.raises(ValueError, match="surprise"):
        Person("female", "70+", "joy", "cooking")
